"""Measuring a run of self-play against perfect play."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.arena.interval import span
from rlsearch.arena.opening import open_game
from rlsearch.arena.solved_positions import (
    Graph,
    SolvedPositions,
    lost_lines,
    read_solved_positions,
    solve_game,
)
from rlsearch.config import SearchConfig
from rlsearch.environments.base import Environment
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.networks.residual_tower import tower_flops
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.search.moves import evaluate as evaluate_positions
from rlsearch.search.moves import search_moves

BATCH = 512  # positions searched at once


Chooser = Callable[[Params, Any, jax.Array], jax.Array]


def make_chooser(
    environment: Environment, model: BoardModel, config: SearchConfig | None
) -> Chooser:
    """`(params, states, keys [B]) -> [B]`: the move that is found by a search, or without one the
    policy's likeliest."""

    @jax.jit
    def choose(params: Params, states: Any, keys: jax.Array) -> jax.Array:
        if config is None:
            return jnp.argmax(evaluate_positions(params, states, environment, model)[0], axis=1)
        return search_moves(params, keys, states, environment, model, config).action

    return choose


def choose_moves(choose: Chooser, params: Params, states: Any, seed: int) -> np.ndarray:
    """`[N]` the move that is chosen in each position."""
    count = len(states.player)
    keys, chosen = row_keys(jax.random.key(seed), count), []
    for start in range(0, count, BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), count - 1)  # one size is compiled
        some = jax.tree.map(lambda x, rows=rows: jnp.asarray(x)[rows], states)
        chosen.append(np.asarray(choose(params, some, keys[rows])))
    return np.concatenate(chosen)[:count]


def evaluate_board(
    run_dir: str,
    positions: str = "",
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    code: str = "",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/solved.json` and returns its content and path.

    One row for the raw policy (budget 1: one position is evaluated for a move), and one for each
    number of simulations and seed. `accuracy` is the share of moves that keep the game-theoretic
    value, `accuracy_where_it_matters` the same over positions in which some legal move does not;
    None where there is no such position. Both have a 95% interval.

    Args:
        positions: a file of solved positions; empty: the game itself is solved, if it is small.
        budgets: simulations of a move; empty for that of the config's `play`.
    """
    opened = open_game(run_dir, code)
    directory, environment, model = opened.directory, opened.environment, opened.model
    checkpoint_step = opened.steps()[-1]
    params = opened.params(checkpoint_step)
    graph: Graph | None = None
    if positions:
        solved: SolvedPositions = read_solved_positions(positions, environment)
    else:
        graph = solve_game(environment)
        solved = graph.positions
    flops = tower_flops(opened.stage.model, environment.observation_shape, environment.num_actions)
    simulations = budgets or (opened.search.num_simulations,)
    rows = []
    for budget in (0, *simulations):
        search = dataclasses.replace(opened.search, num_simulations=budget) if budget else None
        choose = make_chooser(environment, model, search)
        choose_moves(choose, params, jax.tree.map(lambda x: x[:1], solved.states), 0)  # compiles
        for seed in (0,) if search is None else seeds or (0,):
            began = time.monotonic()
            actions = choose_moves(choose, params, solved.states, seed)
            seconds = time.monotonic() - began
            keeps, matters = solved.keeps_value(actions), solved.matters
            where_it_matters = float(keeps[matters].mean()) if matters.any() else None
            kept, mattering = int(keeps[matters].sum()), int(matters.sum())
            row = {
                "policy": "self_play",
                "checkpoint_step": checkpoint_step,
                "strategy": "policy" if search is None else "tree_search",
                "settings": {} if search is None else {"num_simulations": budget},
                "verifier": "value head",
                "oracle": False,
                "budget": 1 + budget,
                "seed": seed,
                "accuracy": float(keeps.mean()),
                "ci95": list(wilson_interval(int(keeps.sum()), keeps.size)),
                "accuracy_where_it_matters": where_it_matters,
                "ci95_where_it_matters": list(wilson_interval(kept, mattering)),
                "problems": int(keeps.size),
                "problems_where_it_matters": mattering,
                # A move is one generation, and a position that the network reads its token.
                "generations": 1.0,
                "policy_tokens": 1.0 + budget,
                "verifier_tokens": 0.0,
                "flops": (1.0 + budget) * flops,
                "seconds": seconds,
            }
            if graph is not None:
                row["lost_lines"] = lost_lines(graph, actions)
            rows.append(row)
            report(_line(row))
    result = {
        "benchmark": "solved",
        "positions": positions or "all",
        "left_out": solved.left_out,  # lines of the file
        "rows": rows,
    }
    table = directory.evaluations / "solved.json"
    write_json(table, result)
    return {**result, "table": str(table)}


def _line(row: dict[str, Any]) -> str:
    lost = f"  lost lines {row['lost_lines']}" if "lost_lines" in row else ""
    name = "policy" if row["strategy"] == "policy" else f"{row['budget'] - 1} simulations"
    matters = "nowhere does it matter"
    if row["problems_where_it_matters"]:
        share = _percent(row["accuracy_where_it_matters"], row["ci95_where_it_matters"])
        matters = f"where it matters {share}"
    return f"{name:16} keeps the value {_percent(row['accuracy'], row['ci95'])}  {matters}{lost}"


def _percent(share: float, interval: list[float]) -> str:
    low, high = (100 * end for end in interval)
    return f"{100 * share:5.1f}% ({span(low, high, 1)})"

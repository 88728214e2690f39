"""Measuring a run of a game for one player: what its games are worth.

Letters: G games.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from scipy.special import stdtrit

from rlsearch.arena.interval import span
from rlsearch.arena.players import Player, players_of_run, random_player, read_runs
from rlsearch.environments.base import Environment, finished, game_name, reward_scale
from rlsearch.figure import save, subplots
from rlsearch.networks.residual_tower import tower_flops
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.text import for_picture
from rlsearch.training.progress import Progress

GAMES = 64
MAX_MOVES = 20_000  # of a game, which is worth what it has by then
_MOVES_AT_ONCE = 16


def evaluate_returns(
    run_dir: str,
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    games: int = GAMES,
    code: str = "",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/returns.json` and `returns.png`; returns their content and paths.

    One row a seed for random moves, for the policy without a search, and for each number of
    simulations. A return is the sum of a game's rewards, neither scaled nor discounted. `ci95` is
    None where all games had the same return.

    Args:
        budgets: simulations of a move; empty for that of the config's `play`.
        games: G, played by each.
        report: is told one line after each result.
    """
    (run,) = read_runs([run_dir], code)
    simulations = budgets or (run.opened.search.num_simulations,)
    players = [random_player(), *players_of_run(run, (0, *simulations))]
    shape, actions = run.environment.observation_shape, run.environment.num_actions
    flops = tower_flops(run.opened.stage.model, shape, actions)
    rows = []
    for player in players:
        for seed in seeds or (0,):
            began = time.monotonic()
            found, moves = play_games(run.environment, player, games, seed)
            found = found / reward_scale(run.environment)
            searched = player.settings.get("num_simulations")
            read = 0.0 if searched is None else 1.0 + searched
            low, high = mean_interval(found)
            interval = [low, high] if np.isfinite(high - low) else None
            rows.append(
                {
                    "policy": "random" if searched is None else "self_play",
                    "checkpoint_step": player.settings.get("checkpoint_step"),
                    "strategy": {None: "random", 0: "policy"}.get(searched, "tree_search"),
                    "settings": player.settings,
                    "verifier": "value head",
                    "oracle": False,
                    "budget": int(read),
                    "seed": seed,
                    "mean_return": float(found.mean()),
                    "ci95": interval,
                    "best_return": float(found.max()),
                    "games": games,
                    "moves": float(moves.mean()),
                    # A move is one generation, and a position that the network reads its token.
                    "generations": float(moves.mean()),
                    "policy_tokens": read * float(moves.mean()),
                    "verifier_tokens": 0.0,
                    "flops": read * flops * float(moves.mean()),
                    "seconds": time.monotonic() - began,
                }
            )
            report(f"{player.name:24} mean return {found.mean():9.4g} ({spread(found)})")
    result = {"benchmark": "returns", "game": game_name(run.environment), "rows": rows}
    folder = run.opened.directory.evaluations
    table, picture = folder / "returns.json", folder / "returns.png"
    write_json(table, result)
    draw(rows, picture, f"{result['game']}, {games} games each")
    return {**result, "table": str(table), "picture": str(picture)}


def play_games(
    environment: Environment, player: Player, games: int, seed: int, max_moves: int = MAX_MOVES
) -> tuple[np.ndarray, np.ndarray]:
    """`[G]` float32 returns and `[G]` int32 lengths of games, all played at once to their end."""
    reset_keys, move_keys, chance_keys = (
        row_keys(jax.random.fold_in(jax.random.key(seed), stream), games) for stream in range(3)
    )
    fold = jax.vmap(jax.random.fold_in)

    @jax.jit
    def some_moves(states: Any, returns: jax.Array):
        def move(carry, _):
            states, returns = carry
            actions = player.choose(states, fold(move_keys, states.moves))
            chance = fold(chance_keys, states.moves)
            states = jax.vmap(environment.step)(states, actions, chance)
            return (states, returns + states.reward), None

        (states, returns), _ = jax.lax.scan(move, (states, returns), None, length=_MOVES_AT_ONCE)
        return states, returns, jax.vmap(finished)(states)

    states, returns = jax.vmap(environment.reset)(reset_keys), jnp.zeros((games,), jnp.float32)
    over = np.zeros((games,), bool)
    with Progress(games, player.name) as progress:
        for _ in range(0, max_moves, _MOVES_AT_ONCE):
            states, returns, over = some_moves(states, returns)
            progress.update(int(np.sum(over)), moves=float(np.max(states.moves)))
            if np.all(over):
                break
    return np.asarray(returns), np.asarray(states.moves)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of G returns, by Student's t; infinite where they are alike.

    Returns have no bounds and no unit. So of some that are all the same, as of a single one, no
    interval follows: the return that was not seen may be any. See `spread` for what does follow.
    """
    mean, count = float(values.mean()), len(values)
    if values.min() == values.max():
        return -np.inf, np.inf
    half = float(stdtrit(count - 1, 0.975)) * float(values.std(ddof=1)) / count**0.5
    return mean - half, mean + half


def spread(values: np.ndarray) -> str:
    """Says the interval of the mean of G returns, or how sure it is that they are all alike."""
    low, high = mean_interval(values)
    if np.isfinite(high - low):
        return span(low, high, 4, "g")
    if len(values) == 1:
        return "one game: no interval"
    # None of G games is another with probability (1 - p)^G, where p of all games are.
    most = 100 * (1 - 0.05 ** (1 / len(values)))
    return f"all {len(values)} alike: at most {most:.2g}% of games are others, 95% sure"


def draw(rows: Sequence[dict[str, Any]], path: epath.Path, title: str) -> None:
    """Writes a PNG of mean returns against positions read for a move."""
    figure, axes = subplots(figsize=(7.0, 4.5), dpi=150, layout="constrained")
    random = [row["mean_return"] for row in rows if row["strategy"] == "random"]
    axes.axhline(float(np.mean(random)), color="#7f7f7f", linestyle="--", label="random moves")
    for seed in dict.fromkeys(row["seed"] for row in rows):
        line = [row for row in rows if row["seed"] == seed and row["strategy"] != "random"]
        means = np.array([row["mean_return"] for row in line])
        # Where no interval is known there is no bar.
        ends = [row["ci95"] or (np.nan, np.nan) for row in line]
        low, high = np.array(ends, float).T
        budgets = [row["budget"] for row in line]
        bars = [means - low, high - means]
        axes.errorbar(budgets, means, bars, marker="o", capsize=3, label=f"run, seed {seed}")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="positions read for a move (1: the policy alone)", ylabel="mean return")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(for_picture(title))
    figure.supxlabel("bars: 95% intervals; none where all games were alike", fontsize=8)
    save(figure, path)

"""Those who play in an arena: at random, by a search with random playouts, or by a trained run.

A player is a pure function from positions to moves. None of them knows chance beforehand: a search
draws its own.

Letters: B games, A actions.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.arena.opening import OpenedGame, open_game
from rlsearch.classes import class_name
from rlsearch.config import SearchConfig
from rlsearch.environments.base import Environment, finished, game_name
from rlsearch.keys import folded
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.paths import absolute
from rlsearch.runs.directory import RunDirectory
from rlsearch.search import mcts
from rlsearch.search.moves import evaluate, search_moves
from rlsearch.training.metrics import read_metrics

PLAYOUT_MOVES = 512  # of a random playout at most; one that is longer is worth what it has by then


class Player(NamedTuple):
    """A player: its moves, its name, and a record of what it is."""

    name: str
    settings: dict[str, Any]
    choose: Callable[[Any, jax.Array], jax.Array]  # states [B], keys [B] -> legal actions [B]


def random_player() -> Player:
    """All legal moves are equally likely."""
    return Player("random", {"kind": "random"}, jax.jit(jax.vmap(random_move)))


def random_move(state: Any, key: jax.Array) -> jax.Array:
    """`[]` int32, a legal move, all equally likely."""
    return jax.random.categorical(key, jnp.where(state.legal_action_mask, 0.0, -jnp.inf))


def rollout_player(environment: Environment, num_simulations: int) -> Player:
    """Plain MCTS: PUCT with uniform priors, where a leaf is worth the outcome of one playout."""
    config = SearchConfig(
        actions="moves", policy="puct", gumbel_scale=0.0, num_simulations=num_simulations
    )
    return Player(
        name=f"mcts_{num_simulations}",
        settings={"kind": "mcts", "num_simulations": num_simulations},
        choose=functools.partial(_search_with_playouts, environment=environment, config=config),
    )


class Run(NamedTuple):
    """A run whose checkpoints play."""

    name: str  # unlike that of all others in the arena
    opened: OpenedGame

    @property
    def environment(self) -> Environment:
        """The game; equal ones are the same for `jit`."""
        return self.opened.environment


def read_runs(run_dirs: Sequence[str], code: str = "") -> list[Run]:
    """Opens the runs of one game; see `read_run`.

    Raises:
        FileNotFoundError: if there is no run in a directory.
        ValueError: if they are not of one game, or one is given twice.
    """
    opened = [open_game(run_dir, code) for run_dir in run_dirs]
    paths = [str(absolute(run.directory.path)) for run in opened]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise ValueError(f"run is {run_dirs[number]!r}: it is given twice")
    games = [(class_name(run.environment), game_name(run.environment)) for run in opened]
    for run_dir, game in zip(run_dirs, games, strict=True):
        if game != games[0]:
            one, other = (
                _game_name(*pair, full=game[0] != games[0][0]) for pair in (games[0], game)
            )
            raise ValueError(
                f"run is {run_dir!r}: its game is {other}, and that of {run_dirs[0]!r} is {one}: "
                "an arena is for one game"
            )
    short = [absolute(run.directory.path).name for run in opened]
    return [
        Run(name if short.count(name) == 1 else path, run)
        for name, path, run in zip(short, paths, opened, strict=True)
    ]


def _game_name(cls: str, game: str, full: bool) -> str:
    return f"{game} of {cls}" if full else game


def players_of_run(
    run: Run, simulations: Sequence[int] = (), checkpoints: str = "last"
) -> list[Player]:
    """A player for each checkpoint and number of simulations.

    Args:
        simulations: 0 is the policy without a search; empty for that of the config's `play`.
        checkpoints: "last", or "all" for each one that the run has.

    Raises:
        ValueError: if `checkpoints` is something else, or there is none yet.
    """
    if checkpoints not in ("last", "all"):
        raise ValueError(f"checkpoints is {checkpoints!r}: it must be 'last' or 'all'")
    opened = run.opened
    steps = opened.steps()
    players = []
    for step in steps if checkpoints == "all" else steps[-1:]:
        params = opened.params(step)
        for number in dict.fromkeys(simulations or (opened.search.num_simulations,)):
            settings = {
                "kind": "run",
                "run": str(opened.directory.path),
                "checkpoint_step": step,
                "training_seconds": _seconds(opened.directory, step),
                "num_simulations": number,
            }
            name = f"{run.name}@{step}-{number or 'policy'}"
            search = dataclasses.replace(opened.search, num_simulations=number) if number else None
            choose = functools.partial(
                _search_with_network,
                params,
                environment=opened.environment,
                model=opened.model,
                config=search,
            )
            players.append(Player(name, settings, choose))
    return players


def _seconds(directory: RunDirectory, step: int) -> float | None:
    """The time of training behind a step, between those of the logged ones around it."""
    rows = read_metrics(directory.metrics) if directory.metrics.exists() else []
    if not rows:
        return None
    steps, seconds = ([row[key] for row in rows] for key in ("step", "seconds"))
    return float(np.interp(step, steps, seconds))


@functools.partial(jax.jit, static_argnames=("environment", "model", "config"))
def _search_with_network(
    params: Params,
    states: Any,
    keys: jax.Array,
    *,
    environment: Environment,
    model: BoardModel,
    config: SearchConfig | None,
) -> jax.Array:
    if config is None:
        return jnp.argmax(evaluate(params, states, environment, model)[0], axis=1)
    return search_moves(params, keys, states, environment, model, config).action


@functools.partial(jax.jit, static_argnames=("environment", "config"))
def _search_with_playouts(
    states: Any, keys: jax.Array, *, environment: Environment, config: SearchConfig
) -> jax.Array:
    """The move that was visited most; of several, the one of the best value."""
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 3)))
    noise_keys, chance_keys, root_keys = split(keys)
    counted = mcts.CountedLoop()
    values_of = jax.vmap(functools.partial(playout, environment))

    def recurrent_fn(nothing: Any, key: Any, action: jax.Array, state: Any):
        del nothing, key
        here = folded(chance_keys, counted.simulation)
        step_keys, playout_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(here)
        after = jax.vmap(environment.step)(state, action, step_keys)
        discount = environment.discount * jnp.where(after.player == state.player, 1.0, -1.0)
        output = mcts.recurrent_output(
            reward=after.reward,
            discount=jnp.where(after.terminated, 0.0, discount),
            prior_logits=_uniform(after),
            value=values_of(after, playout_keys),
        )
        return output, after

    tree = mcts.run(
        mcts.root_output(
            prior_logits=_uniform(states), value=values_of(states, root_keys), embedding=states
        ),
        recurrent_fn,
        noise_keys,
        config,
        counted.loop,
        invalid_actions=~states.legal_action_mask,
    )
    visits = tree.children_visits[:, 0]
    values = tree.qvalues(jnp.zeros_like(visits[:, 0]))
    most = visits == visits.max(axis=1, keepdims=True)
    return jnp.argmax(jnp.where(most, values, -jnp.inf), axis=1)


def _uniform(states: Any) -> jax.Array:
    """`[B, A]` prior logits of the legal moves."""
    return jnp.where(states.legal_action_mask, 0.0, mcts.FORBIDDEN)


def playout(environment: Environment, state: Any, key: jax.Array) -> jax.Array:
    """`[]` float32, the discounted return of random moves to the end, to who moves first in them.

    0 where the state is finished.
    """

    def going_on(carry: tuple) -> jax.Array:
        state, number, _, _ = carry
        return ~finished(state) & (number < PLAYOUT_MOVES)

    def move(carry: tuple) -> tuple:
        before, number, value, scale = carry
        draw_key, chance_key = jax.random.split(jax.random.fold_in(key, number))
        after = environment.step(before, random_move(before, draw_key), chance_key)
        sign = jnp.where(before.player == state.player, 1.0, -1.0)
        return after, number + 1, value + scale * sign * after.reward, scale * environment.discount

    nothing, one = jnp.zeros((), jnp.float32), jnp.ones((), jnp.float32)
    return jax.lax.while_loop(going_on, move, (state, 0, nothing, one))[2]

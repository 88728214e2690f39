"""Games small enough to be solved by hand, and a network that knows nothing of them."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import (
    Experiment,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    SearchConfig,
    TowerConfig,
)
from rlsearch.environments.pgx_game import PgxGame, PgxState
from rlsearch.stages.self_play import SelfPlay
from tests.tiny import write_config_file

TWICE = (0, 0, 1, 1)  # who moves at each depth
TURNS = (0, 1, 0, 1)


def pgx_game(game: str, **fields: Any) -> PgxGame:
    return PgxGame(game=game, **fields)


@functools.cache
def jitted(game: str, **fields: Any) -> tuple[PgxGame, Any, Any, Any]:
    """A game, and its `reset`, `step` and `observe` compiled."""
    environment = pgx_game(game, **fields)
    return (
        environment,
        jax.jit(environment.reset),
        jax.jit(environment.step),
        jax.jit(environment.observe),
    )


def play_out(game: str, actions, key=0, **fields: Any) -> list[PgxState]:
    """The states in front of and behind each of `actions`."""
    _, reset, step, _ = jitted(game, **fields)
    states = [reset(jax.random.key(key))]
    for action in actions:
        states.append(step(states[-1], jnp.int32(action), jax.random.key(0)))
    return states


def stack(states: list[Any]) -> Any:
    return jax.tree.map(lambda *x: jnp.stack(x), *states)


def same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


class TableState(NamedTuple):
    """The path from the root of a `TableGame`."""

    path: jax.Array  # [D] int32, -1 where no move has been made
    moves: jax.Array
    player: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    legal_action_mask: jax.Array


class TableGame:
    """A tree of three actions and depth D whose leaves win or lose, as a table says.

    The last action of each odd node is illegal. Values are known: see `minimax`.
    """

    num_actions = 3
    discount = 1.0

    def __init__(self, players=TURNS, seed: int = 0, max_moves: int = 0):
        self.players, self.max_moves = players, max_moves
        self.depth = len(players)
        random = np.random.default_rng(seed)
        self.table = random.choice([-1.0, 1.0], (3,) * self.depth).astype(np.float32)
        self.observation_shape = (1, self.depth, 3)
        self.symmetries = (np.arange(self.depth)[None], np.arange(3)[None])

    def legal(self, path) -> np.ndarray:
        return np.array([True, True, sum(path) % 2 == 0])

    def minimax(self, path=()) -> float:
        """The value of a node to who moves there."""
        return max(self.outcome((*path, action)) for action in np.flatnonzero(self.legal(path)))

    def outcome(self, path) -> float:
        """What the last move of `path` leads to, for who made it."""
        mover = self.players[len(path) - 1]
        if len(path) == self.depth:
            return float(self.table[path]) * (1 if mover == 0 else -1)
        return self.minimax(path) * (1 if self.players[len(path)] == mover else -1)

    def nodes(self) -> list[tuple[int, ...]]:
        """The paths of all positions that are not finished."""
        paths = [()]
        for path in paths:
            if len(path) + 1 < self.depth:
                paths += [(*path, int(action)) for action in np.flatnonzero(self.legal(path))]
        return paths

    def state(self, path) -> TableState:
        state = self.reset(jax.random.key(0))
        for action in path:
            state = self.step(state, jnp.int32(action), jax.random.key(0))
        return state

    def reset(self, key: jax.Array) -> TableState:
        del key
        path, no = jnp.full((self.depth,), -1, jnp.int32), jnp.zeros((), bool)
        zero, nothing = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
        return TableState(path, zero, zero, nothing, no, no, jnp.ones((3,), bool))

    def step(self, state: TableState, action: jax.Array, key: jax.Array) -> TableState:
        del key
        over = state.terminated | state.truncated
        place = jnp.minimum(state.moves, self.depth - 1)
        path, moves = state.path.at[place].set(action), state.moves + 1
        ended = moves == self.depth
        outcome = jnp.array(self.table)[tuple(jnp.maximum(path, 0))]
        to_mover = jnp.where(state.player == 0, outcome, -outcome)
        after = TableState(
            path=path,
            moves=moves,
            player=jnp.array([*self.players, self.players[-1]], jnp.int32)[place + 1],
            reward=jnp.where(ended, to_mover, 0.0),
            terminated=ended,
            truncated=~ended & (moves >= self.max_moves if self.max_moves else False),
            legal_action_mask=jnp.array([True, True, False])
            .at[2]
            .set(jnp.maximum(path, 0).sum() % 2 == 0),
        )
        kept = state._replace(reward=jnp.zeros((), jnp.float32))
        return jax.tree.map(lambda x, y: jnp.where(over, x, y), kept, after)

    def observe(self, state: TableState) -> jax.Array:
        return jax.nn.one_hot(state.path, 3)[None]


class DiceGame(TableGame):
    """A single player's game in which the last move is paid, or costs, by chance alone."""

    def __init__(self):
        super().__init__(players=(0, 0))

    def step(self, state: TableState, action: jax.Array, key: jax.Array) -> TableState:
        after = super().step(state, action, key)
        drawn = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        return after._replace(reward=jnp.where(after.reward != 0.0, drawn, 0.0))


class OneGoodMove(TableGame):
    """A game of a single move: one of sixteen wins, all others lose."""

    num_actions = 16
    good = 5

    def __init__(self):
        super().__init__(players=(0,))

    def reset(self, key: jax.Array) -> TableState:
        return super().reset(key)._replace(legal_action_mask=jnp.ones((16,), bool))

    def step(self, state: TableState, action: jax.Array, key: jax.Array) -> TableState:
        table = state._replace(legal_action_mask=jnp.ones((3,), bool))
        after = super().step(table, action % 3, key)
        outcome = jnp.where(action == self.good, 1.0, -1.0)
        reward = jnp.where(after.reward != 0.0, outcome, 0.0)
        return after._replace(reward=reward, legal_action_mask=state.legal_action_mask)


class NegatedGame(PgxGame):
    """Who wins is told to have lost."""

    def step(self, state: PgxState, action: jax.Array, key: jax.Array) -> PgxState:
        after = super().step(state, action, key)
        return after._replace(reward=-after.reward)


class NoKnowledge:
    """A network for which all moves are as good, and all positions worth the same."""

    def __init__(self, environment: Any, value: float = 0.0):
        self.num_actions, self.worth = environment.num_actions, value

    def evaluate(self, params: Any, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        del params
        rows = observations.shape[0]
        return jnp.zeros((rows, self.num_actions)), jnp.full((rows,), self.worth)


def tiny_board_experiment(**changes: Any) -> Experiment:
    """A run of tic-tac-toe that takes seconds. Every step is logged and saved.

    Args:
        changes: of the stage's fields.
    """
    search = SearchConfig(actions="moves", num_simulations=3, num_candidates=3, value_scale=0.5)
    stage = SelfPlay(
        environment=PgxGame(game="tic_tac_toe"),
        model=TowerConfig(num_blocks=1, channels=4, value_dim=4),
        search=search,
        play=search,
        num_steps=4,
        num_games=4,
        moves_per_step=3,
        replay_moves=6,
        updates_per_step=1,
        batch_size=8,
        random_opening=2,
        reanalysed=1,
        td_lambda=0.5,
        optimizer=OptimizerConfig(warmup_steps=1),
    )
    return Experiment(
        name="tiny_board",
        stages=(dataclasses.replace(stage, **changes),),
        parallel=ParallelConfig(data=1),
        log=LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=2),
    )


def write_board_config_file(path: pathlib.Path) -> str:
    """Writes a config file of the tiny run for the command line; returns its path."""
    return write_config_file(path, tiny_board_experiment())

"""The games of pgx with perfect information, for one player or two (Koyamada et al. 2023).

pgx keeps the observation in its state. Here it is taken out, because a search stores a state in
every node: it is computed where it is read.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pgx

from rlsearch.classes import nearest
from rlsearch.config import check
from rlsearch.environments.symmetries import symmetries

TWO_PLAYERS = (
    *("animal_shogi", "backgammon", "chess", "connect_four", "gardner_chess", "go_19x19"),
    *("go_9x9", "hex", "othello", "shogi", "tic_tac_toe"),
)
ONE_PLAYER = (
    *("2048", "minatar-asterix", "minatar-breakout", "minatar-freeway", "minatar-seaquest"),
    "minatar-space_invaders",
)


class PgxState(NamedTuple):
    """A pgx state without its observation."""

    game: Any
    reward: jax.Array  # [] float32, to the player who moved
    truncated: jax.Array  # [] bool
    moves: jax.Array  # [] int32

    @property
    def legal_action_mask(self) -> jax.Array:
        return self.game.legal_action_mask

    @property
    def terminated(self) -> jax.Array:
        return self.game.terminated

    @property
    def player(self) -> jax.Array:
        return self.game.current_player


@dataclasses.dataclass(frozen=True)
class PgxGame:
    """The game that pgx has under a name; see `rlsearch.environments.base.Environment`."""

    game: str = "tic_tac_toe"  # pgx's name of it
    reward_scale: float = 1.0  # rewards are multiplied by it; best so that returns are in [-1, 1]
    discount: float = 1.0  # of the next reward
    max_moves: int = 0  # games are broken off after so many; 0: never

    def __post_init__(self):
        names = sorted((*TWO_PLAYERS, *ONE_PLAYER))
        close = nearest(self.game, names) if self.game not in names else None
        hint = f"; the nearest is {close}" if close else ""
        check(self.game in names, self, "game", f"one of {', '.join(names)}{hint}")
        check(0 < self.reward_scale <= 1e6, self, "reward_scale", "positive, and at most 1e6")
        check(0 < self.discount <= 1, self, "discount", "in (0, 1]")
        check(0 <= self.max_moves < 2**31, self, "max_moves", "from 0 to 2**31 - 1")

    @functools.cached_property
    def _game(self) -> Any:
        # The module of a game has arrays of its own, which must not be those of a trace.
        with jax.ensure_compile_time_eval():
            return pgx.make(self.game)  # pyright: ignore[reportArgumentType]

    @functools.cached_property
    def num_actions(self) -> int:
        return self._game.num_actions

    @functools.cached_property
    def observation_shape(self) -> tuple[int, int, int]:
        state = jax.eval_shape(self.reset, jax.random.key(0))
        rows, columns, features = jax.eval_shape(self.observe, state).shape
        return rows, columns, features

    @functools.cached_property
    def symmetries(self) -> tuple[np.ndarray, np.ndarray]:
        rows, columns, _ = self.observation_shape
        return symmetries(self.game, rows, columns, self.num_actions)

    def reset(self, key: jax.Array) -> PgxState:
        game = self._game.init(key)
        return PgxState(
            game=_unseen(game),
            reward=jnp.zeros((), jnp.float32),
            truncated=jnp.zeros((), bool),
            moves=jnp.zeros((), jnp.int32),
        )

    def step(self, state: PgxState, action: jax.Array, key: jax.Array) -> PgxState:
        mover, moves = state.player, state.moves + 1
        game = _unseen(self._game.step(state.game, action, key))
        too_long = moves >= self.max_moves if self.max_moves else False
        after = PgxState(
            game=game,
            reward=(self.reward_scale * game.rewards[mover]).astype(jnp.float32),
            truncated=~game.terminated & too_long,
            moves=moves,
        )
        # pgx leaves a game that is over as it is, but of our truncation it knows nothing.
        over = state.terminated | state.truncated
        same = state._replace(reward=jnp.zeros((), jnp.float32))
        return jax.tree.map(lambda old, new: jnp.where(over, old, new), same, after)

    def observe(self, state: PgxState) -> jax.Array:
        seen = self._game.observe(state.game).astype(jnp.float32)
        return seen if seen.ndim == 3 else seen.reshape(1, 1, -1)


def _unseen(game: Any) -> Any:
    # A single element, as checkpoints have no room for empty arrays.
    return game.replace(observation=jnp.zeros((1,), game.observation.dtype))

"""The games of pgx with perfect information, for one player or two (Koyamada et al. 2023).

pgx keeps the observation in its state. Here it is taken out, because a search stores a state in
every node: it is computed where it is read.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pgx

from rlsearch.config import EnvironmentConfig
from rlsearch.config_file import nearest
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


class PgxGame:
    """The game that `config.game` names."""

    def __init__(self, config: EnvironmentConfig):
        """Builds it.

        Raises:
            ValueError: if there is no such game.
        """
        names = sorted((*TWO_PLAYERS, *ONE_PLAYER))
        if config.game not in names:
            close = nearest(config.game, names)
            raise ValueError(
                f"environment.game is {config.game!r}: "
                + (f"the nearest is {close}; " if close else "")
                + f"it must be one of {', '.join(names)}"
            )
        self._config = config
        self._game: Any = pgx.make(config.game)  # pyright: ignore[reportArgumentType]
        self.discount = config.discount
        self.reward_scale = config.reward_scale

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
        return symmetries(self._config.game, rows, columns, self.num_actions)

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
        too_long = moves >= self._config.max_moves if self._config.max_moves else False
        after = PgxState(
            game=game,
            reward=(self._config.reward_scale * game.rewards[mover]).astype(jnp.float32),
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

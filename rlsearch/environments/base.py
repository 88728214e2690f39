"""The protocol of an environment: the one class a user writes to bring a game of their own.

An environment is a frozen dataclass; the stage of a config holds one, and its fields can be set on
the command line. All methods are pure, work under `jit` and are about one episode; callers `vmap`.
"""

from typing import Any, Protocol

import jax
import numpy as np


class State(Protocol):
    """The state of an episode: a pytree of arrays, without the observation.

    A finished episode stays as it is whatever is done to it, and gives reward 0 from then on.
    """

    @property
    def legal_action_mask(self) -> jax.Array:
        """`[A]` bool; not all False, also when the episode is finished."""
        ...

    @property
    def reward(self) -> jax.Array:
        """`[]` float32, of the step that led here, to the player who took it."""
        ...

    @property
    def terminated(self) -> jax.Array:
        """`[]` bool, the episode has come to its end."""
        ...

    @property
    def truncated(self) -> jax.Array:
        """`[]` bool, it was broken off: what would have come has a value."""
        ...

    @property
    def player(self) -> jax.Array:
        """`[]` int32, who moves next. A player may move several times in a row."""
        ...

    @property
    def moves(self) -> jax.Array:
        """`[]` int32, steps since the episode began."""
        ...


class Environment(Protocol):
    """A decision process of one or two players, with perfect information and zero sum.

    Where a lost game is not worth -1, an attribute `reward_scale` says how much it costs: who gives
    up pays that.
    """

    @property
    def num_actions(self) -> int:
        """A."""
        ...

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        """Rows, columns and features of an observation."""
        ...

    @property
    def discount(self) -> float:
        """The discount of the reward of the next step, in (0, 1]."""
        ...

    @property
    def symmetries(self) -> tuple[np.ndarray, np.ndarray]:
        """Ways to see the same position, the identity first: for each of G ways where every cell
        `[G, rows * columns]` and every action `[G, A]` of the new sight is found in the old."""
        ...

    def reset(self, key: jax.Array) -> Any:
        """The state in which an episode begins."""
        ...

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> Any:
        """The state after an action; `key` is for chance alone."""
        ...

    def observe(self, state: Any) -> jax.Array:
        """The sight of the player to move: `[rows, columns, features]` float32."""
        ...


def game_name(environment: Environment) -> str:
    """The name of a game: its field `game`, where it has one, or its class."""
    return getattr(environment, "game", type(environment).__name__)


def reward_scale(environment: Environment) -> float:
    """The factor by which a game's own rewards are multiplied."""
    return getattr(environment, "reward_scale", 1.0)


def finished(state: State) -> jax.Array:
    """`[]` bool, nothing more happens in this episode."""
    return state.terminated | state.truncated

"""Self-play: games that go on from training step to training step, and what is kept of them.

Every lane plays one game after another. Each move is searched; the position, the improved policy
and the value that the search found are remembered; a game that is over makes room for a new one.
The returns of all that a lane remembers are computed anew at the end of a step (`returns`).

Letters: B lanes, T moves of a step, C positions remembered of a lane, A actions.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.environments.base import Environment, finished
from rlsearch.keys import folded
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.search.moves import search_moves


class GameSettings(Protocol):
    """The settings by which games are played; see `rlsearch.stages.self_play.SelfPlay`."""

    @property
    def search(self) -> SearchConfig:
        """The search of every move."""
        ...

    @property
    def moves_per_step(self) -> int:
        """T."""
        ...

    @property
    def random_opening(self) -> int:
        """Random moves at most in front of a game."""
        ...

    @property
    def temperature(self) -> float:
        """The temperature of the draw from the improved policy."""
        ...

    @property
    def temperature_moves(self) -> int:
        """Moves behind which the best is played."""
        ...

    @property
    def resign_below(self) -> float:
        """The value below which a player gives up; -1: never."""
        ...


class Move(NamedTuple):
    """The record of one position and of the move that was made in it."""

    state: Any
    policy: jax.Array  # [A] float32, the improved policy
    value: jax.Array  # [] float32, what the search found, to the player who moved
    reward: jax.Array  # [] float32, to the player who moved
    discount: jax.Array  # [] float32, negative where the other player moves next; 0 at the end
    truncated: jax.Array  # [] bool, the game was broken off behind this move


def new_game(environment: Environment, key: jax.Array, random_opening: int) -> Any:
    """The state of one game behind 0 to `random_opening` random moves.

    A game that is over by then is begun anew without them.
    """
    reset_key, number_key, moves_key = jax.random.split(key, 3)
    first = environment.reset(reset_key)
    if random_opening == 0:
        return first
    number = jax.random.randint(number_key, (), 0, random_opening + 1)

    def move(index, state):
        draw_key, chance_key = jax.random.split(jax.random.fold_in(moves_key, index))
        logits = jnp.where(state.legal_action_mask, 0.0, -jnp.inf)
        after = environment.step(state, jax.random.categorical(draw_key, logits), chance_key)
        return _where(index < number, after, state)

    state = jax.lax.fori_loop(0, random_opening, move, first)
    return _where(finished(state), first, state)


def _where(condition: jax.Array, one: Any, other: Any) -> Any:
    """One of two pytrees, for `condition []`."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), one, other)


def play(
    params: Params,
    states: Any,
    keys: jax.Array,
    environment: Environment,
    model: BoardModel,
    config: GameSettings,
) -> tuple[Any, Move, dict[str, jax.Array]]:
    """Makes T moves in each of B games, a new one begun wherever one is over.

    Args:
        states: the games in progress.
        keys: `[B]` typed keys, one a lane, consumed. A lane's moves depend on its own key alone.

    Returns:
        The games in progress, the moves `[B, T, ...]`, and metrics `[B]`: the shares of moves that
        end a game (its inverse is the mean length of a game) and that win or lose it.
    """

    def turn(states, number):
        turn_keys = folded(keys, number)
        split = jax.vmap(lambda key: tuple(jax.random.split(key, 4)))
        search_keys, action_keys, chance_keys, game_keys = split(turn_keys)
        result = search_moves(params, search_keys, states, environment, model, config.search)
        policy, value = result.improved_policy, found_value(result)
        drawn = jax.vmap(jax.random.categorical)(
            action_keys, jnp.log(jnp.maximum(policy, 1e-20)) / config.temperature
        )
        action = jnp.where(states.moves < config.temperature_moves, drawn, result.action)
        after = jax.vmap(environment.step)(states, action, chance_keys)

        # A value may be below -1, where more than a game is lost, or by rounding.
        resigned = (value < config.resign_below) & (config.resign_below > -1.0)
        sign = jnp.where(after.player == states.player, 1.0, -1.0)
        ended = resigned | after.terminated
        over = resigned | finished(after)
        move = Move(
            state=states,
            policy=policy,
            value=value,
            # A lost game costs one reward, in the scale of the game where it says that.
            reward=jnp.where(resigned, -getattr(environment, "reward_scale", 1.0), after.reward),
            discount=jnp.where(ended, 0.0, environment.discount * sign),
            truncated=after.truncated & ~ended,
        )
        new = jax.vmap(lambda key: new_game(environment, key, config.random_opening))(game_keys)
        going_on = jax.vmap(_where)(over, new, after)
        return going_on, (move, {"ends": over, "decisions": over & (move.reward != 0.0)})

    states, (moves, facts) = jax.lax.scan(turn, states, jnp.arange(config.moves_per_step))
    moves = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), moves)
    metrics = {name: fact.astype(jnp.float32).mean(axis=0) for name, fact in facts.items()}
    return states, moves, metrics


def found_value(result: Any) -> jax.Array:
    """`[B]` the value of a position under the improved policy; the unvisited count as the root."""
    visited = result.visit_counts > 0
    values = jnp.where(visited, result.action_values, result.root_value[:, None])
    return (result.improved_policy * values).sum(axis=1)

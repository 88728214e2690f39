"""A test of whether a game can be solved here, made before the work; the answer is one sentence."""

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.arena.players import random_move
from rlsearch.environments.base import Environment, finished
from rlsearch.environments.chance import begins_differently, has_chance

ELSEWHERE = "solve it elsewhere, and name a file of its positions with --positions"
GAMES = 2048  # of random moves, in which no two may meet
_PLIES = 64  # of such a game at most
_SURE = 10  # no two games meet with a probability of e^-10 at most, in a game that is small enough


def check_no_chance(environment: Environment, what: str) -> None:
    """Refuses a game of chance.

    Args:
        what: it cannot do, behind "it cannot".

    Raises:
        ValueError: if chance has a part in its moves, or in the position in which it begins.
    """
    if has_chance(environment):
        raise ValueError(
            f"this is a game of chance: it cannot {what}, as no move of it has one "
            "outcome; the command `arena` measures who plays it better"
        )
    if begins_differently(environment):
        raise ValueError(
            f"this game begins in a position drawn by chance: it cannot {what}; "
            "the command `arena` measures who plays it better"
        )


def check_size(environment: Environment, positions: int) -> None:
    """Refuses a game that surely has more than so many positions, by some games of random moves.

    Among G games that stand in N positions as many moves from the start, G (G - 1) / 2N pairs or
    more meet on average, fewest where all positions are as likely. So if none meet N is very likely
    more than the G (G - 1) / 2 pairs over `_SURE`. A game that passes may still be too large.

    Raises:
        ValueError: if it has.
    """
    keys = jax.random.split(jax.random.key(0), GAMES)

    @jax.jit
    def move(states, ply):
        def one(state, key):
            draw_key, chance_key = jax.random.split(jax.random.fold_in(key, ply))
            after = environment.step(state, random_move(state, draw_key), chance_key)
            return after, environment.observe(after), finished(after)

        # In parts, as the rules of some games take much more memory than their positions.
        return jax.lax.map(lambda row: one(*row), (states, keys), batch_size=128)

    states = jax.vmap(environment.reset)(keys)
    for ply in range(_PLIES):
        states, seen, over = move(states, jnp.int32(ply))
        going_on = np.asarray(seen)[~np.asarray(over)]
        pairs = len(going_on) * (len(going_on) - 1) / 2
        if pairs < _SURE * positions:
            return
        if len({row.tobytes() for row in going_on}) == len(going_on):
            memory = positions * bytes_of_position(environment) / 2**30
            raise too_large(f"it has more than {positions} positions, of over {memory:.1f} GiB")


def bytes_of_position(environment: Environment) -> int:
    """Counts the bytes of memory that a position and its moves take."""
    state = jax.eval_shape(environment.reset, jax.eval_shape(jax.random.key, 0))
    leaves = jax.tree.leaves((state, jax.eval_shape(environment.observe, state)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) + 16 * environment.num_actions


def too_large(reason: str) -> ValueError:
    """The error of a game that has too many positions, or too large ones."""
    return ValueError(f"the game is too large to be solved here: {reason}; {ELSEWHERE}")

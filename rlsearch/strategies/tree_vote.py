"""A vote over the leaves of a tree that draws: the answer with the highest sum of weights wins.

A leaf is there once, however likely it is, so that a count of leaves would forget what a vote over
samples counts. Its weight is the confidence in it: with `policy_weight` 1 and a verifier that says
nothing, about the policy's own probability of it.
"""

import dataclasses

import jax

from rlsearch.strategies.drawing_tree import DrawingTree
from rlsearch.strategies.vote import best_by_weight


@dataclasses.dataclass(frozen=True)
class TreeVote(DrawingTree):
    """Does what `DrawingTree` does, chosen by answers."""

    def choose(self, answers: jax.Array, sure: jax.Array) -> jax.Array:
        return best_by_weight(answers, sure)

"""A vote over the leaves of a tree that draws: the answer with the highest sum of weights wins.

A leaf is there once, however likely it is, so that a count of leaves would forget what a vote over
samples counts. Its weight is the confidence in it: with `policy_weight` 1 and a verifier that says
nothing the sum is the policy's own probability of an answer, as far as the tree has found it.
"""

import dataclasses

import jax

from rlsearch.strategies.drawing_tree import DrawingTree
from rlsearch.strategies.vote import best_by_weight


@dataclasses.dataclass(frozen=True)
class TreeVote(DrawingTree):
    """Does what `DrawingTree` does, chosen by answers."""

    policy_weight: float = 1.0  # a, see `drawing.confidence`

    def choose(self, answers: jax.Array, sure: jax.Array) -> jax.Array:
        return best_by_weight(answers, sure)

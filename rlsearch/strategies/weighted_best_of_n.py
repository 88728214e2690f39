"""Weighted best-of-N: sample N solutions; the answer with the highest sum of scores wins."""

import dataclasses

import jax

from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.candidates import Candidates
from rlsearch.strategies.vote import best_by_weight


def weighted_best(found: Candidates) -> jax.Array:
    """`[B]` int32, of those that give the winning answer the one with the highest score."""
    return best_by_weight(found.answers, found.scores)


@dataclasses.dataclass(frozen=True)
class WeightedBestOfN(BestOfN):
    """Does what `BestOfN` does, chosen by answers."""

    def choose(self, found: Candidates) -> jax.Array:
        return weighted_best(found)

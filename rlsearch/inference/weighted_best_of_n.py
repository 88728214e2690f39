"""Weighted best-of-N: sample N solutions; the answer with the highest sum of scores wins."""

import jax
import jax.numpy as jnp

from rlsearch.inference.best_of_n import BestOfN
from rlsearch.inference.candidates import Candidates
from rlsearch.inference.vote import first_best, vote


def weighted_best(found: Candidates) -> jax.Array:
    """`[B]` int32, of those that give the winning answer the one with the highest score."""
    totals = vote(found.answers, jnp.maximum(found.scores, 0.0))
    return first_best(totals, found.scores)


class WeightedBestOfN(BestOfN):
    """As `BestOfN`, chosen by answers."""

    def choose(self, found: Candidates) -> jax.Array:
        return weighted_best(found)

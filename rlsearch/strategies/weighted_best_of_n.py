"""Weighted best-of-N: sample N solutions; the answer with the highest sum of scores wins."""

import dataclasses

import jax

from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.candidates import Candidates
from rlsearch.strategies.vote import best_by_weight


@dataclasses.dataclass(frozen=True)
class WeightedBestOfN(BestOfN):
    """Does what `BestOfN` does, chosen by answers."""

    def choose(self, found: Candidates) -> jax.Array:
        return best_by_weight(found.answers, self.confidence(found.scores, found.log_probs))

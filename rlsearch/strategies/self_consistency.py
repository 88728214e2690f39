"""Self-consistency: sample N solutions; the answer that most of them give wins."""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.decoding.writer import Writer
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.candidates import Candidates
from rlsearch.strategies.vote import first_best, vote
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.constant import Constant


@dataclasses.dataclass(frozen=True)
class SelfConsistency(BestOfN):
    """Does what `BestOfN` does, chosen by the number of votes: no verifier is asked, or paid."""

    def choose(self, found: Candidates) -> jax.Array:
        return first_best(vote(found.answers, jnp.ones_like(found.scores)))

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        return super().solve(writer, Constant(), prompts, keys, budget)

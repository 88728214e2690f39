"""Best-of-N: sample N solutions, answer with the one that the verifier scores highest."""

import dataclasses

import jax

from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.candidates import Candidates, answer_with, sample
from rlsearch.strategies.drawing import Drawing
from rlsearch.strategies.vote import first_best
from rlsearch.verifiers.base import Judge


@dataclasses.dataclass(frozen=True)
class BestOfN(Drawing):
    """N is the budget. Other ways to choose among samples differ in `choose` alone."""

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        return {"n": budget.solutions, **dataclasses.asdict(self)}

    def choose(self, found: Candidates) -> jax.Array:
        """`[B]` int32, the candidate that is the answer."""
        return first_best(self.confidence(found.scores, found.log_probs))

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        found = sample(writer, judge, prompts, keys, budget.solutions, self.sampling)
        return answer_with(found, self.choose(found))

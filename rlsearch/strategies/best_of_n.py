"""Best-of-N: sample N solutions, answer with the one that the verifier scores highest."""

import jax

from rlsearch.networks.language_model import Params
from rlsearch.strategies.base import Budget, Policy, Solutions
from rlsearch.strategies.candidates import Candidates, answer_with, sample
from rlsearch.strategies.vote import first_best
from rlsearch.verifiers.base import Verifier


class BestOfN:
    """N is the budget. Other ways to choose among samples differ in `choose` alone."""

    temperature: float = 1.0

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        return {"n": budget.solutions, "temperature": self.temperature}

    def choose(self, found: Candidates) -> jax.Array:
        """`[B]` int32, the candidate that is the answer."""
        return first_best(found.scores)

    def solve(
        self,
        policy: Policy,
        params: Params,
        verifier: Verifier,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        number = budget.solutions
        found = sample(policy, params, verifier, prompts, keys, number, self.temperature)
        return answer_with(found, self.choose(found))

"""Greedy decoding: one solution, the likeliest token at every place."""

import jax
import jax.numpy as jnp

from rlsearch.networks.language_model import Params
from rlsearch.strategies.base import Budget, Policy, Solutions
from rlsearch.strategies.candidates import answer_with, sample
from rlsearch.verifiers.base import Verifier


class Greedy:
    """Spends one solution whatever the budget, so that it has one row: budget 1."""

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        return {"temperature": 0.0} if budget.solutions == 1 else None

    def solve(
        self,
        policy: Policy,
        params: Params,
        verifier: Verifier,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        found = sample(policy, params, verifier, prompts, keys, 1, 0.0)
        return answer_with(found, jnp.zeros(prompts.shape[:1], jnp.int32))

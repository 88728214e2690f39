"""Greedy decoding: one solution, the likeliest token at every place."""

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import sample_solutions
from rlsearch.inference.base import Budget, Policy, Solutions


class Greedy:
    """Spends one solution whatever the budget, so that it has one row: budget 1."""

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        return {"temperature": 0.0} if budget.solutions == 1 else None

    def solve(
        self, policy: Policy, params, prompts: jax.Array, keys: jax.Array, budget: Budget
    ) -> Solutions:
        prefix, _ = sample_solutions(policy.model, params, prompts, keys, policy.form, 0.0)
        score = policy.model.value(params, prefix.hidden)
        ones = jnp.ones_like(prefix.length)
        return Solutions(
            tokens=prefix.tokens,
            score=score,
            all_tokens=prefix.tokens[:, None],
            all_scores=score[:, None],
            generations=ones,
            policy_tokens=prefix.length,
            verifier_tokens=0 * ones,
        )

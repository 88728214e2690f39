"""Best-of-N: sample N solutions, answer with the one that the critic values most."""

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import finished, sample_solutions
from rlsearch.inference.base import Budget, Policy, Solutions


class BestOfN:
    """N is the budget."""

    temperature: float = 1.0

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        return {"n": budget.solutions, "temperature": self.temperature}

    def solve(
        self, policy: Policy, params, prompts: jax.Array, keys: jax.Array, budget: Budget
    ) -> Solutions:
        def one(sample: jax.Array):
            sample_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, sample)
            prefix, _ = sample_solutions(
                policy.model, params, prompts, sample_keys, policy.form, self.temperature
            )
            value = policy.model.value(params, prefix.hidden)
            score = jnp.where(finished(prefix, policy.form), value, -1.0)
            return prefix.tokens, score, prefix.length

        tokens, scores, lengths = jax.lax.map(one, jnp.arange(budget.solutions))
        tokens, scores = jnp.swapaxes(tokens, 0, 1), scores.T
        best = jnp.argmax(scores, axis=1)
        rows = jnp.arange(prompts.shape[0])
        return Solutions(
            tokens=tokens[rows, best],
            score=scores[rows, best],
            all_tokens=tokens,
            all_scores=scores,
            generations=(scores >= 0).sum(axis=1),
            policy_tokens=lengths.sum(axis=0),
            verifier_tokens=jnp.zeros_like(rows),
        )

"""Tree search while answering, with the critic alone: no ground truth.

One tree from the problem itself takes nearly the whole budget. The answer is the finished
solution in it that the critic values most. Where none is finished, the node that the critic values
most is finished greedily; the tokens that this may take are kept aside from the start.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import draw_step, start
from rlsearch.inference.base import Budget, Policy, Solutions
from rlsearch.search.search import search
from rlsearch.search.summary import first_finished, outcomes

SIMULATIONS_PER_CANDIDATE = 5  # a wider root would spend the budget on first steps alone
MAX_CANDIDATES = 32


class TreeSearch:
    """The search of training over whole steps, as wide and deep as the budget allows."""

    # Chosen by accuracy on problems with hindsight goals, none of them held out.
    config = SearchConfig(actions="steps", min_p=0.05, value_scale=0.3)

    def __init__(self, judge: Callable[[jax.Array, jax.Array], jax.Array] | None = None):
        """With the checker as `judge` it is an oracle, an upper bound and not a strategy."""
        self.judge = judge

    def search_config(self, policy: Policy, budget: Budget) -> SearchConfig | None:
        """As many simulations as the budget surely pays for; None where it pays for none."""
        left = budget.tokens - policy.form.max_length
        simulations = left // policy.form.max_step_length
        if simulations < 1:
            return None
        candidates = min(max(simulations // SIMULATIONS_PER_CANDIDATE, 4), MAX_CANDIDATES)
        return dataclasses.replace(
            self.config, num_simulations=simulations, num_candidates=candidates
        )

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        config = self.search_config(policy, budget)
        return dataclasses.asdict(config) if config else {"num_simulations": 0}

    def solve(
        self, policy: Policy, params, prompts: jax.Array, keys: jax.Array, budget: Budget
    ) -> Solutions:
        model, form, config = policy.model, policy.form, self.search_config(policy, budget)
        prompt_cache, prefix = start(model, params, prompts, form)
        rows = jnp.arange(prompts.shape[0])
        nodes = jax.tree.map(lambda x: x[:, None], prefix)  # the root alone
        scores, done = jnp.zeros((rows.size, 1)), jnp.zeros((rows.size, 1), bool)
        spent = jnp.zeros_like(rows)
        if config is not None:
            result, _ = search(
                params, keys, prompts, prompt_cache, prefix, model, form, config, self.judge
            )
            tree, spent = result.tree, result.tokens
            nodes, scores = tree.embeddings.prefix, tree.raw_values
            done = first_finished(tree, form)
            if self.judge is not None:
                scores = jnp.where(done, outcomes(tree, form), scores)
        # Finished solutions first, and among them by value; scores lie in [0, 1].
        best = jnp.argmax(scores + 2.0 * done, axis=1)
        answer = jax.tree.map(lambda x: x[rows, best], nodes)

        def finish(prefix, _):
            prefix, step = draw_step(model, params, prompt_cache, prefix, keys, form, 0.0)
            return prefix, step.length

        answer, lengths = jax.lax.scan(finish, answer, length=form.num_steps)
        return Solutions(
            tokens=answer.tokens,
            score=model.value(params, answer.hidden),
            all_tokens=nodes.tokens,
            all_scores=jnp.where(done, scores, -1.0),
            generations=jnp.maximum(done.sum(axis=1), 1),
            policy_tokens=spent + lengths.sum(axis=0),
            verifier_tokens=jnp.zeros_like(rows),
        )

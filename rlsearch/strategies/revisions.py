"""Sequential revisions: chains of attempts, each written with those before it in view."""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.chains import best_of_chains, majority_of_chains, sample_chains
from rlsearch.strategies.drawing import Drawing, drawing_of
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.constant import Constant


@dataclasses.dataclass(frozen=True)
class Revisions(Drawing):
    """A budget of N is spent on N / s chains of s attempts: from N plain samples to one chain.

    Made for a policy of the stage "revision"; any other has never seen an attempt in its context.
    With a verifier the answer is chosen inside each chain, then among chains; without one
    (`constant`) all attempts vote. A budget that s does not divide is not spent to the end; one
    below s has s = N. A budget counts what is written: what the policy reads again of earlier
    attempts is no part of it, but has a count of its own and is in the FLOPs.
    """

    sequential: int = 4  # s, attempts of a chain

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        sequential = min(self.sequential, budget.solutions)
        parallel = budget.solutions // sequential
        return {
            "n": parallel * sequential,
            "parallel": parallel,
            "sequential": sequential,
            **drawing_of(self),
        }

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        settings = self.settings(writer.policy, budget)
        assert settings is not None, "every budget can be spent"
        parallel, sequential = settings["parallel"], settings["sequential"]
        found = sample_chains(writer, judge, prompts, keys, parallel, sequential, self.sampling)
        weights = self.confidence(found.scores, found.log_probs)
        choose = majority_of_chains if isinstance(judge, Constant) else best_of_chains
        chosen, rows = choose(found.answers, weights), jnp.arange(len(prompts))
        tokens = found.tokens.reshape(len(prompts), parallel * sequential, -1)
        scores = found.scores.reshape(len(prompts), -1)

        def spent(x: jax.Array) -> jax.Array:
            return x.sum(axis=(1, 2))

        return Solutions(
            tokens=tokens[rows, chosen],
            score=scores[rows, chosen],
            all_tokens=tokens,
            all_scores=scores,
            generations=(scores >= 0).sum(axis=1),
            policy_tokens=spent(found.policy_tokens),
            verifier_tokens=spent(found.verifier_tokens) + found.shared_verifier_tokens,
            bad_scores=spent(found.bad_scores),
            context_tokens=spent(found.context_tokens),
            contexts=parallel * (sequential - 1),
        )

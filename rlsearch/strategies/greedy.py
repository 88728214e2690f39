"""Greedy decoding: one solution, the likeliest token at every place."""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import Policy
from rlsearch.decoding.sampling import GREEDY
from rlsearch.decoding.writer import Writer
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.candidates import answer_with, sample
from rlsearch.verifiers.base import Judge


@dataclasses.dataclass(frozen=True)
class Greedy:
    """Spends one solution whatever the budget, so that it has one row: budget 1."""

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        return {"temperature": 0.0} if budget.solutions == 1 else None

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        found = sample(writer, judge, prompts, keys, 1, GREEDY)
        return answer_with(found, jnp.zeros(prompts.shape[:1], jnp.int32))

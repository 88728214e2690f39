"""The ground truth for finished solutions. What it helps to solve is an upper bound, no result."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.writer import Writer
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Free


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=[], meta_fields=["check", "aggregation"]
)
@dataclasses.dataclass(frozen=True)
class Checker(Free):
    """Knows whether a finished solution is right; on the way there the policy's critic speaks."""

    check: Callable[[jax.Array, jax.Array], jax.Array]  # prompts, tokens [B, T] to [B] bool
    aggregation: str = "last"
    label = "checker"
    oracle = True

    @classmethod
    def of(cls, task: Task) -> "Checker":
        return cls(task.check_tokens)

    @classmethod
    def of_whole(cls, task: Task, format: SolutionFormat) -> "Checker":
        """To which a solution that was cut at its longest is wrong, whatever it says: a policy that
        learns from it learns to end."""

        def check(prompts: jax.Array, solutions: jax.Array) -> jax.Array:
            return task.check_tokens(prompts, solutions) & format.is_whole(solutions)

        return cls(check)

    def score(self, writer: Writer, draft: Draft) -> jax.Array:
        right = self.check(draft.prompt.tokens, draft.line.tokens).astype(jnp.float32)
        return jnp.where(writer.finished(draft), right, writer.value(draft))

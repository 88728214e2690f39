"""No verifier: every step is as good as any other."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Free


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["aggregation"])
@dataclasses.dataclass(frozen=True)
class Constant(Free):
    """Leaves voting by count, and of best-of-N the first sample."""

    aggregation: str = "last"
    label = "none"
    oracle = False

    @classmethod
    def of(cls, task: Task) -> "Constant":
        del task
        return cls()

    def score(self, writer: Writer, draft: Draft) -> jax.Array:
        del writer
        return jnp.full(draft.line.length.shape, 0.5)

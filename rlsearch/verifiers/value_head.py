"""The policy's own value head: a critic that costs nothing, as its trunk has read all already."""

import dataclasses
import functools

import jax

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Free


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["aggregation"])
@dataclasses.dataclass(frozen=True)
class ValueHead(Free):
    """Its value is the chance that the solution comes out right, so that the last one counts."""

    aggregation: str = "last"
    label = "value head"
    oracle = False

    @classmethod
    def of(cls, task: Task) -> "ValueHead":
        del task
        return cls()

    def score(self, writer: Writer, draft: Draft) -> jax.Array:
        return writer.value(draft)

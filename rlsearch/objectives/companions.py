"""The rows that stand beside those of a teacher: samples for the value alone, and random traces."""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.objectives.critic_samples import critic_targets
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.objectives.widen import widen
from rlsearch.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Companions:
    """The number of rows of each kind beside each row of a teacher."""

    critic_samples: int
    traces: int
    contrast: float  # of the traces, see `hindsight_targets`
    choices: float = 1.0  # of the traces, see `hindsight_targets`

    @property
    def rows(self) -> int:
        """Rows of a problem, the teacher's included."""
        return 1 + self.critic_samples + self.traces


def with_companions(
    task: Task,
    writer: Writer,
    first: Draft,
    taught: list[StepTargets],
    keys: tuple[jax.Array, jax.Array],
    companions: Companions,
) -> StepTargets:
    """Puts behind the rows of each of B problems their companions.

    Args:
        first: empty solutions of the problems.
        taught: `[B]` rows, one list item for each of a problem's.
        keys: `[B]` typed keys of the samples and of the traces. Numbers from
            `2 * format.max_length` on are folded into those of the samples, so that smaller ones
            are free for a teacher's own use.
    """
    (sample_keys, trace_keys), rows, like = keys, list(taught), taught[0]
    for number in range(companions.critic_samples):
        own = folded(sample_keys, 2 * writer.format.max_length + number)
        rows.append(critic_targets(task, writer, first, own, like))
    for number in range(companions.traces):
        own = folded(trace_keys, number)
        traces = hindsight_targets(task, own, companions.contrast, companions.choices)
        rows.append(widen(traces, like, writer.format))
    # A problem's rows lie side by side, so that their order is the same over any number of devices.
    return jax.tree.map(lambda *x: jnp.stack(x, axis=1).reshape(-1, *x[0].shape[1:]), *rows)

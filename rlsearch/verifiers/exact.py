"""Exact labels: the task itself says of each step whether all is right up to it.

The truth to measure against, and the best that a process reward model can be given.
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.split import step_ends
from rlsearch.tasks.base import Task
from rlsearch.verifiers.labels import StepLabels


def check_exact(task: Task) -> None:
    """Raises ValueError where a task cannot label steps on the device."""
    if not hasattr(task, "label_steps"):
        raise ValueError(
            f"labels are 'exact': {type(task).__name__} cannot label steps on the device, so let "
            "`rlsearch data label RUN --labels exact` write them"
        )


def exact_labels(
    task: Task, prompts: jax.Array, solutions: jax.Array, format: SolutionFormat
) -> StepLabels:
    """Labels of all steps of `solutions [N, T]`, on the device."""
    _, present = step_ends(solutions, format)
    return StepLabels(
        prompts,
        solutions,
        values=task.label_steps(prompts, solutions).astype(jnp.float32),
        weights=present.astype(jnp.float32),
        generations=jnp.ones(prompts.shape[:1], jnp.int32),
    )

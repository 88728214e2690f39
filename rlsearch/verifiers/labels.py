"""Labels of steps: what process reward models learn from.

Letters: N solutions, P tokens of a prompt, T tokens of a solution, S steps.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from rlsearch.decoding.steps import StepFormat
from rlsearch.networks.language_model import LanguageModel
from rlsearch.tasks.base import Task

Array = jax.Array | np.ndarray  # on a device, or on the host


class StepLabels(NamedTuple):
    """Solutions, what their steps are worth, and what it took to say so."""

    prompts: Array  # [N, P] int32
    solutions: Array  # [N, T] int32, padded
    values: Array  # [N, S] float32 in [0, 1]
    weights: Array  # [N, S] float32, 0 for a step that has no label
    generations: Array  # [N] int32, solutions and completions that the policy wrote for it


@dataclasses.dataclass(frozen=True, eq=False)
class Writer:
    """A policy, as those see it who label what it writes."""

    task: Task
    model: LanguageModel
    form: StepFormat

"""Labels of steps: what process reward models learn from.

Letters: N solutions, P tokens of a prompt, T tokens of a solution, S steps.
"""

from typing import NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray  # on a device, or on the host


class StepLabels(NamedTuple):
    """Solutions, what their steps are worth, and what it took to say so."""

    prompts: Array  # [N, P] int32
    solutions: Array  # [N, T] int32, padded
    values: Array  # [N, S] float32 in [0, 1]
    weights: Array  # [N, S] float32, 0 for a step that has no label
    generations: Array  # [N] int32, solutions and completions that the policy wrote for it

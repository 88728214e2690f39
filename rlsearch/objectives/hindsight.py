"""Targets of pre-training: random valid traces, whose goal is the number that they reached.

A trace shown with its own goal teaches the language, exact arithmetic and, in hindsight, what
leads to which goal (Andrychowicz et al. 2017). Nobody chose its steps, so that a model of it
solves few puzzles.

A share of the traces is shown with the goal of another problem instead. These teach the value to
tell the states from which a goal is likely from those that never reach it (Eysenbach et al. 2021,
C-learning). Of their steps the policy learns the consequences alone, not the choices, and that
keeps it honest: where every trace ends on its goal, a model learns to write the goal as the last
result whatever the arithmetic says, and then no critic can see what is wrong.
"""

import jax
import jax.numpy as jnp

from rlsearch.objectives.step_targets import StepTargets, written
from rlsearch.tasks.base import Task


def hindsight_targets(
    task: Task, keys: jax.Array, contrast: float, choices: float = 1.0
) -> StepTargets:
    """One row a key, M = 1.

    Args:
        keys: `[B]` typed keys, consumed.
        contrast: share of the rows that are shown with another goal, in (0, 1).
        choices: share of the other rows whose choices the policy learns, in [0, 1]; of the rest it
            learns the consequences alone.
    """

    def one(key: jax.Array) -> StepTargets:
        trace_key, swap_key = jax.random.split(key)
        learnt = jax.random.bernoulli(jax.random.fold_in(swap_key, 0), choices)
        prompt, other_prompt, steps, valid = task.draw_trace(trace_key)
        swapped = jax.random.bernoulli(swap_key, contrast)
        shown = jnp.where(swapped, other_prompt, prompt)
        reached = (shown == prompt).all()  # the other goal may be the same number
        per_step = written(steps[None, :, None], task.pad)[0]
        # Reached and missed goals weigh the same, whatever the share of either.
        balance = jnp.where(swapped, 1.0, contrast / (1.0 - contrast))
        return StepTargets(
            prompts=shown,
            steps=steps[:, None],
            weights=per_step * valid,
            values=per_step * reached,
            value_weights=per_step * valid * balance,
            prompt_values=reached.astype(jnp.float32),
            prompt_value_weights=valid * balance,
            counted=((~swapped & learnt) | jnp.asarray(task.consequences))[:, None],
        )

    return jax.vmap(one)(keys)

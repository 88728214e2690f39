"""Targets for the value alone: plain samples of the policy, right and wrong.

Search with the checker mostly takes steps that are right, and a critic that has only seen those
believes anything. Its mistakes are just what a search without the checker looks for: on the
policy's own samples it learns what wrong arithmetic and missed goals look like.
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.step_targets import StepTargets, written
from rlsearch.tasks.base import Task
from rlsearch.verifiers.checker import Checker

# A sample that went wrong says less of its first steps: a search might have gone on better.
UNFINISHED_WEIGHT = 0.3


def critic_targets(
    task: Task, writer: Writer, draft: Draft, keys: jax.Array, like: StepTargets
) -> StepTargets:
    """Writes one sample of each problem, in rows shaped as those of `like`.

    Args:
        draft: empty solutions.
        keys: `[B]` typed keys, consumed.
    """
    format, prompts = writer.format, draft.prompt.tokens
    tokens = writer.write(draft, keys)[0].line.tokens
    right = Checker.of_whole(task, format).check(prompts, tokens).astype(jnp.float32)
    by_token = like.steps.shape[3] == 1
    steps = tokens[:, :, None] if by_token else split_steps(tokens, format)
    blank = jnp.full_like(like.steps, format.pad)
    steps = blank.at[:, :, 0].set(steps)
    present = written(steps, format.pad)
    number = jnp.arange(present.shape[1])[:, None]
    last = number == present.sum(axis=1, keepdims=True) - 1
    return StepTargets(
        prompts=prompts,
        steps=steps,
        weights=jnp.zeros_like(like.weights),
        values=right[:, None, None] * present,
        value_weights=present * jnp.where(last, 1.0, UNFINISHED_WEIGHT),
        prompt_values=right,
        prompt_value_weights=jnp.zeros_like(right),
        counted=like.counted,
    )

"""FLOPs of writing and of reading, counted as they are computed: padding is paid for too."""

import functools
from typing import Any

import jax

from rlsearch.config import OptimizerConfig
from rlsearch.decoding.policy import Policy
from rlsearch.networks.by_name import of_names
from rlsearch.networks.flops import flops_per_token
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Model, StageFlops
from rlsearch.tasks.base import Task


def writing_flops(policy: Policy, task: Task, tokens: int, per_turn: int) -> float:
    """FLOPs of reading one prompt and of evaluating `tokens` tokens behind it, `per_turn` at a time
    in a cache of their own."""
    model, prompt = policy.model, task.prompt_length
    context = prompt + policy.format.max_length + per_turn
    read = prompt * flops_per_token(model, prompt, policy=False)
    return read + tokens * flops_per_token(model, context)


def row_flops(policy: Policy, length: int, optimizer: OptimizerConfig) -> float:
    """FLOPs of one update on a row of `length` tokens."""
    passes = passes_of(policy.model, optimizer.learnt)
    return passes * length * flops_per_token(policy.model, length)


@functools.cache
def passes_of(model: Model, learnt: tuple[str, ...]) -> float:
    """Forward passes that an update costs: its own, one for the gradients of what the layers read,
    and one for those of the parameters, as far as they are learnt."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    leaves = (jax.tree.leaves(of_names(shapes, names)) for names in (learnt, ()))
    part, whole = (sum(x.size for x in some) for some in leaves)
    return 2 + part / whole


def sampling_flops(config: Any, lineage: Lineage) -> StageFlops:
    """FLOPs of a step of a stage that samples solutions of problems and learns rows of one each.

    Args:
        config: the stage's settings, with `num_samples` and a `teaching`.
    """
    task, policy, teaching = lineage.task, lineage.policy(config.name), config.teaching
    format, samples = policy.format, config.num_samples + teaching.critic_samples
    tokens = samples * format.num_steps * format.max_step_length
    written = writing_flops(policy, task, tokens, format.max_step_length)
    length = task.prompt_length + format.num_steps * format.max_step_length
    update = teaching.rows_learnt * row_flops(policy, length, teaching.optimizer)
    return StageFlops(teaching.num_problems * written, update)


def steps_at_flops(config: Any, lineage: Lineage, with_empty: bool = False) -> int:
    """Training steps of a stage: its own `num_steps`, or where that is 0 as many as cost the FLOPs
    of the stage `flops_of`."""
    if not config.flops_of:
        return config.num_steps
    spent = flops_spent(lineage, config.flops_of, with_empty)
    return max(1, round(spent / config.flops(lineage).total))


def flops_spent(lineage: Lineage, stage: str, with_empty: bool = False) -> float:
    """FLOPs of the whole training of a stage, by default without those on empty places of rows."""
    step = lineage.stage(stage).flops(lineage)
    return lineage.num_steps(stage) * (step.total if with_empty else step.needed)

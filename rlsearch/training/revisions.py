"""The stage "revision": a copy of a policy learns to answer better behind answers that went wrong.

Its data is written by that policy, which stays as it is (Snell et al. 2024: revisions that learn
from what they write themselves got worse). It begins as a copy, so that without attempts in its
context it is the policy that it came from.
"""

import dataclasses
import functools

from rlsearch.config import Experiment
from rlsearch.decoding.contexts import ATTEMPTS
from rlsearch.decoding.steps import StepFormat
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.language_model import LanguageModel
from rlsearch.objectives.revision_targets import revision_targets
from rlsearch.runs.stage import Checkpoint, Stage, StageFlops
from rlsearch.tasks.base import Task
from rlsearch.training.language import rows_stage


def revision_stages(
    config: Experiment,
    task: Task,
    model: LanguageModel,
    form: StepFormat,
    before: tuple[Stage, ...],
) -> tuple[Stage, ...]:
    """The stage, if the experiment has it.

    Args:
        before: the stages that it follows.

    Raises:
        ValueError: if none of them ends with the policy that is to be copied.
    """
    settings, steps, total = config.revision, {}, 0
    if not settings.enabled:
        return ()
    for stage in before:
        total += stage.num_steps
        steps[stage.name] = total
    if settings.policy not in steps:
        raise ValueError(
            f"revision.policy is {settings.policy!r}: this experiment has {', '.join(steps)}"
        )
    policy = Checkpoint(model, steps[settings.policy])
    stage = rows_stage(
        model,
        form.pad,
        name="revision",
        start=policy,
        num_steps=settings.num_steps,
        num_keys=settings.num_problems,
        produce=functools.partial(
            revision_targets, task=task, model=model, form=form, num_samples=settings.num_samples
        ),
        replay_size=settings.replay_size,
        updates_per_step=settings.updates_per_step,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        flops=revision_flops(config, task, model, form),
    )
    return (written_by(policy, stage),)


def written_by(policy: Checkpoint, stage: Stage) -> Stage:
    """`stage`, whose rows another policy writes than the one that learns from them."""
    return dataclasses.replace(
        stage,
        memory=lambda read, keys: stage.memory(read[1], keys),
        collect=lambda read, memory, keys: stage.collect(read[1], memory, keys),
        loss=lambda read, rows, keys: stage.loss(read[0], rows, keys),
        reads=policy,
    )


def revision_flops(
    config: Experiment, task: Task, model: LanguageModel, form: StepFormat
) -> StageFlops:
    """FLOPs of a training step, counted as they are computed: padding is paid for too."""
    settings, prompt = config.revision, task.prompt_length
    tokens = settings.num_samples * form.num_steps * form.max_step_length
    produce = settings.num_problems * (
        prompt * flops_per_token(model, prompt, policy=False)
        + tokens * flops_per_token(model, prompt + form.max_length + form.max_step_length)
    )
    length = prompt + ATTEMPTS * form.max_length + form.num_steps * form.max_step_length
    rows = settings.updates_per_step * settings.batch_size
    update = 3 * rows * length * flops_per_token(model, length)
    return StageFlops(produce=float(produce), update=float(update))

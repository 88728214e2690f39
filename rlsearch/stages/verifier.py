"""The stages that train verifiers: a policy that stays as it is writes, and they learn to judge it.

    orm     learns whether a solution comes out right, which the checker says
    prm     learns of each step whether it is right, which labels say

Solutions are fresh in every step, or come with their labels from a folder that `rlsearch data
label` has written. The network is one of its own, a copy of the policy that learns on, or a head on
the policy's trunk.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import Experiment, VerifierConfig
from rlsearch.decoding.steps import StepFormat, sample_solutions
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.head import Head
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.objectives.verifier_targets import (
    VerifierTargets,
    outcome_targets,
    per_weight,
    process_targets,
    verifier_loss,
)
from rlsearch.parallel.sharding import filled
from rlsearch.runs.stage import Checkpoint, Metrics, Model, Stage, StageFlops
from rlsearch.tasks.base import Task
from rlsearch.training.replay import Replay, add, capacity_of, empty_replay, sample
from rlsearch.verifiers.exact import check_exact, exact_labels
from rlsearch.verifiers.label_files import LabelFolder, abstract_labels

Reads = tuple[Params, Params]  # the verifier's own parameters, and those of the policy


def verifier_stages(
    config: Experiment, task: Task, form: StepFormat, policy: Checkpoint
) -> tuple[Stage, ...]:
    """The verifiers of an experiment, in their order.

    Args:
        policy: whose solutions are judged; its model is a `LanguageModel`.

    Raises:
        ValueError: if the labels that the config asks for cannot be had.
    """
    labels = None
    if "prm" in config.verifier.train and config.verifier.labels != "exact":
        labels = LabelFolder(config.verifier.labels, config.task, task)
    return tuple(
        verifier_stage(name, config.verifier, task, form, policy, labels if name == "prm" else None)
        for name in config.verifier.train
    )


def verifier_model(config: VerifierConfig, policy: LanguageModel) -> Model:
    """What is trained."""
    if config.network == "head":
        return Head(policy.config)
    return policy if config.network == "copy" else LanguageModel(config.model, policy.vocab_size)


def verifier_stage(
    name: str,
    config: VerifierConfig,
    task: Task,
    form: StepFormat,
    policy: Checkpoint,
    labels: LabelFolder | None = None,
) -> Stage:
    """One verifier; see `verifier_stages`.

    Args:
        labels: what it learns from instead of fresh solutions.
    """
    writer: LanguageModel = policy.model
    model = verifier_model(config, writer)
    produce: Callable[[Params, jax.Array], tuple[VerifierTargets, Metrics]]
    if name == "orm":
        produce = functools.partial(written_outcomes, task, writer, form)
    else:
        if labels is None:
            check_exact(task)
        produce = functools.partial(written_steps, task, writer, form)

    def fresh_memory(read: Reads, keys: jax.Array) -> Replay:
        rows = jax.eval_shape(lambda *x: lanes(produce(*x)[0]), read[1], keys)
        return empty_replay(rows, config.replay_size // config.num_solutions)

    def collect_fresh(read: Reads, replay: Replay, keys: jax.Array) -> tuple[Replay, Metrics]:
        rows, facts = produce(read[1], keys)
        return add(replay, lanes(rows)), facts

    def batch(replay: Replay, key: jax.Array) -> VerifierTargets:
        return per_weight(sample(replay, key, config.batch_size))

    def loss(read: Reads, rows: VerifierTargets, keys: jax.Array) -> tuple[jax.Array, Metrics]:
        del keys
        return verifier_loss(token_logits(model, writer, read, rows), rows)

    memory, collect, fill = fresh_memory, collect_fresh, None
    if labels is not None:
        memory, collect = functools.partial(full_memory, labels, form), keep_memory
        fill = functools.partial(read_memory, labels, form)
    return Stage(
        name=name,
        model=model,
        start=policy if config.network == "copy" else None,
        num_steps=config.num_steps,
        num_keys=config.num_solutions,
        memory=memory,
        collect=collect,
        batch=batch,
        loss=loss,
        batch_size=config.batch_size,
        updates_per_step=config.updates_per_step,
        optimizer=config.optimizer,
        flops_per_step=verifier_flops(config, task, form, model, writer, fresh=labels is None),
        reads=policy,
        fill=fill,
    )


def lanes(rows: Any) -> Any:
    """One row a lane."""
    return jax.tree.map(lambda x: x[:, None], rows)


def written_outcomes(
    task: Task, writer: LanguageModel, form: StepFormat, params: Params, keys: jax.Array
) -> tuple[VerifierTargets, Metrics]:
    """One solution a key, and whether it is right."""
    prompts, solutions = write_solutions(task, writer, form, params, keys)
    right = task.check_tokens(prompts, solutions).astype(jnp.float32)
    return outcome_targets(prompts, solutions, right, form), {"solved": right}


def written_steps(
    task: Task, writer: LanguageModel, form: StepFormat, params: Params, keys: jax.Array
) -> tuple[VerifierTargets, Metrics]:
    """One solution a key, and of each of its steps whether it is right."""
    prompts, solutions = write_solutions(task, writer, form, params, keys)
    labels = exact_labels(task, prompts, solutions, form)
    right = task.check_tokens(prompts, solutions).astype(jnp.float32)
    return process_targets(labels, form), {"solved": right}


def write_solutions(
    task: Task, writer: LanguageModel, form: StepFormat, params: Params, keys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A training problem of the task `[B, P]` and a solution of it `[B, T]`, one a key."""
    problem_keys, sample_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    prompts = jax.vmap(task.draw_task_problem)(problem_keys)
    prefix, _ = sample_solutions(writer, params, prompts, sample_keys, form)
    return prompts, prefix.tokens


def full_memory(labels: LabelFolder, form: StepFormat, read: Reads, keys: jax.Array) -> Replay:
    """A full ring with room for all `labels`, which `read_memory` puts there.

    They are part of the state, so that a run that is resumed learns from the same ones.
    """
    del read
    each = -(-labels.solutions // len(keys))
    abstract = abstract_labels(len(keys), labels.task)
    rows = jax.eval_shape(lambda x: lanes(process_targets(x, form)), abstract)
    return empty_replay(rows, each)._replace(added=jnp.full(keys.shape, each, jnp.int32))


def read_memory(labels: LabelFolder, form: StepFormat, replay: Replay) -> Replay:
    """Lane after lane of `labels`; a few of them come twice, so that all lanes are full.

    Raises:
        FileNotFoundError, ValueError: see `LabelFolder.take`.
    """
    each = capacity_of(replay)

    def read(asked: range) -> VerifierTargets:
        place = np.arange(asked.start * each, asked.stop * each) % labels.solutions
        rows = process_targets(labels.take(place), form)
        return jax.tree.map(lambda x: x.reshape(len(asked), each, *x.shape[1:]), rows)

    return replay._replace(rows=filled(replay.rows, read))


def keep_memory(read: Reads, replay: Replay, keys: jax.Array) -> tuple[Replay, Metrics]:
    """Nothing is written."""
    del read, keys
    return replay, {}


def token_logits(
    model: Model, writer: LanguageModel, read: Reads, rows: VerifierTargets
) -> jax.Array:
    """`[B, T]` float32, what a verifier says behind each token of solutions."""
    own, policy_params = read
    tokens = jnp.concatenate([rows.prompts, rows.solutions], axis=1)
    start = rows.prompts.shape[1]
    if isinstance(model, Head):
        return model.logit(own, writer.read(policy_params, tokens)[0][:, start:])
    assert isinstance(model, LanguageModel)
    return model.value_logit(own, model.read(own, tokens)[0][:, start:])


def verifier_flops(
    config: VerifierConfig,
    task: Task,
    form: StepFormat,
    model: Model,
    writer: LanguageModel,
    fresh: bool,
) -> StageFlops:
    """FLOPs of a training step, counted as they are computed: padding is paid for too."""
    length = task.prompt_length + form.max_length
    each = flops_per_token(writer, length)
    produce = config.num_solutions * (
        task.prompt_length * flops_per_token(writer, task.prompt_length, policy=False)
        + form.num_steps * form.max_step_length * each
    )
    read = flops_per_token(writer, length, policy=False)  # a head's own are in it, or near
    if isinstance(model, LanguageModel):
        read = 3 * flops_per_token(model, length, policy=False)
    update = config.updates_per_step * config.batch_size * length * read
    return StageFlops(produce=float(produce) if fresh else 0.0, update=float(update))

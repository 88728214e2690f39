"""Runs the stages of an experiment, and goes on where an earlier start of it was cut off."""

import math
import sys
import time
from typing import Any

import jax
from jax.sharding import Mesh

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import Experiment, SelfPlayExperiment
from rlsearch.config_file import check_resumable, from_dict, to_dict
from rlsearch.parallel.mesh import make_mesh, replicated
from rlsearch.training.metrics import MetricsWriter
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.progress import Progress
from rlsearch.training.run_directory import RunDirectory
from rlsearch.training.setup import model_and_stages
from rlsearch.training.stage import Checkpoint, Model, Params, Stage
from rlsearch.training.state import TrainState, init_state, run_key, state_shardings
from rlsearch.training.step import check_split, make_step


def warn(sentence: str) -> None:
    """Tells the user what went wrong without stopping for it."""
    print(f"warning: {sentence}", file=sys.stderr)


def train(config: Experiment | SelfPlayExperiment, run_dir: str) -> dict[str, Any]:
    """Trains every stage, or what is left of them, and returns a summary.

    The same config on the same directory resumes it: bit for bit, as no random number depends on
    when a run was stopped.

    Raises:
        ConfigError: if the directory holds a run of a config that differs where it may not.
        CheckpointError: if a checkpoint cannot be written; what was saved before is untouched.
        FloatingPointError: if a loss stops being a number.
    """
    directory = RunDirectory(run_dir)
    _check_same_run(config, directory)
    model, stages = model_and_stages(config)
    mesh = make_mesh(config.parallel)
    store = CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn)
    stage_ends = ends(stages)
    for stage in stages:
        check_split(stage, mesh)
    directory.write_config(to_dict(config))  # not before it is known to be a good one

    def abstract_at(step: int) -> TrainState:
        return abstract_state(stages[_stage_of(step, stage_ends)], mesh)

    restored = store.restore_latest(lambda step: abstract_at(step)._asdict())
    done, state = (restored[0], TrainState(**restored[1])) if restored else (0, None)
    directory.record_start(resumed_step=done)
    writer = MetricsWriter(directory, done)
    began = time.monotonic() - writer.seconds
    try:
        for stage, end in zip(stages, stage_ends, strict=True):
            if done >= end:
                continue
            read = [stage_params(point, mesh, store) for point in (stage.reads,) if point]
            if state is None or done == end - stage.num_steps:
                params = start_params(stage, config.seed, mesh, store)
                state = _start(stage, params, run_key(config.seed, "memory", done), mesh, *read)
            state = _run_stage(stage, state, end, done, began, config, mesh, store, writer, *read)
            done = end
    finally:
        writer.close()
        store.close()
    return {
        "run": str(directory.path),
        "steps": done,
        "stages": {stage.name: end for stage, end in zip(stages, stage_ends, strict=True)},
        "flops": {stage.name: stage.num_steps * stage.flops_per_step.total for stage in stages},
        "parameters": model.num_params(),
        "seconds": time.monotonic() - began,
    }


def ends(stages: tuple[Stage, ...]) -> list[int]:
    """The number of steps done when each stage is over: the names of their last checkpoints."""
    total, result = 0, []
    for stage in stages:
        total += stage.num_steps
        result.append(total)
    return result


def start_params(stage: Stage, seed: int, mesh: Mesh, store: CheckpointStore) -> Params:
    """The parameters a stage starts from: fresh ones, or the last of another stage."""
    if stage.start is None:
        init = jax.jit(stage.model.init, out_shardings=replicated(mesh))
        return init(run_key(seed, "parameters", 0))
    return stage_params(stage.start, mesh, store)


def stage_params(point: Checkpoint, mesh: Mesh, store: CheckpointStore) -> Params:
    """The parameters that a stage ended with, of this run, whose `store` is given, or of another.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
    """
    if not point.run:
        return load_params(store, point.step, point.model, mesh)
    with CheckpointStore(RunDirectory(point.run, create=False).checkpoints, 1, warn) as other:
        return load_params(other, point.step, point.model, mesh)


def load_params(store: CheckpointStore, step: int, model: Model, mesh: Mesh) -> Params:
    """The parameters alone of the checkpoint at `step`."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return store.restore_part(step, {"params": _placed(shapes, replicated(mesh))})["params"]


def abstract_state(stage: Stage, mesh: Mesh) -> TrainState:
    """Shapes, dtypes and shardings of a stage's state."""
    key = jax.random.key(0)
    models = [stage.model, *(point.model for point in (stage.reads,) if point)]
    params, *read = (jax.eval_shape(model.init, key) for model in models)
    state = jax.eval_shape(
        lambda params, key, *read: init_state(params, _optimizer(stage), stage, key, *read),
        params,
        key,
        *read,
    )
    return TrainState(*map(_placed, state, state_shardings(mesh)))


def _start(stage: Stage, params: Params, key: jax.Array, mesh: Mesh, *read: Params) -> TrainState:
    """The state in which a stage begins."""
    optimizer = _optimizer(stage)
    init = jax.jit(
        lambda params, key, *read: init_state(params, optimizer, stage, key, *read),
        out_shardings=state_shardings(mesh),
    )
    return init(params, key, *read)


def _placed(shapes: Any, sharding: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def _optimizer(stage: Stage):
    return make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)


def _stage_of(step: int, stage_ends: list[int]) -> int:
    """The stage whose state the checkpoint of `step` holds."""
    return next(i for i, end in enumerate(stage_ends) if step <= end)


def _run_stage(
    stage: Stage,
    state: TrainState,
    end: int,
    done: int,
    began: float,
    config: Experiment | SelfPlayExperiment,
    mesh: Mesh,
    store: CheckpointStore,
    writer: MetricsWriter,
    *read: Params,
) -> TrainState:
    first = end - stage.num_steps

    def due(saved_at: float) -> bool:
        return time.monotonic() - saved_at >= config.log.checkpoint_seconds

    step = make_step(stage, _optimizer(stage), mesh)
    with Progress(stage.num_steps, stage.name) as progress:
        saved_at, shown = time.monotonic(), None
        for number in range(max(done, first), end):
            state, metrics = step(state, run_key(config.seed, "training", number), *read)
            number += 1
            if number == end or (number - first) % config.log.every_steps == 0:
                seconds = time.monotonic() - began
                shown = writer.write(number, seconds, stage.name, metrics) or shown
                _check_finite(shown)
                progress.update(number - first, **_headline(shown))
            saving = number == end or due(saved_at)
            if saving:  # what is not a number must never become the newest checkpoint
                _check_finite(jax.device_get(metrics))
                writer.flush()  # a run killed after this checkpoint resumes behind it
            if number == end:
                store.save(number, state._asdict(), permanent=True, wait=True)
            elif saving:
                store.save(number, state._asdict())
                saved_at = time.monotonic()
    return state


def _headline(metrics: dict[str, float] | None) -> dict[str, float]:
    keys = ("policy_loss", "value_loss", "verifier_loss", "solved", "ends", "replay_age")
    return {key: metrics[key] for key in keys if metrics and key in metrics}


def _check_finite(metrics: dict[str, float] | None) -> None:
    for name, value in (metrics or {}).items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value}: training diverged; the last checkpoint is kept; "
                "try a smaller learning_rate in another --run-dir"
            )


def _check_same_run(config: Experiment | SelfPlayExperiment, directory: RunDirectory) -> None:
    """Holds the config against the one that the directory's run began with, if it has one."""
    saved = directory.read_config()
    if saved is not None:
        changed = check_resumable(from_dict(saved), config)
        if changed:
            warn(f"resuming with changes to {', '.join(changed)}")

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
from rlsearch.parallel.sharding import placed
from rlsearch.training.metrics import MetricsWriter
from rlsearch.training.progress import Progress
from rlsearch.training.run_directory import RunDirectory
from rlsearch.training.setup import model_and_stages
from rlsearch.training.stage import Model, Params, Stage
from rlsearch.training.state import (
    TrainState,
    abstract_state,
    init_state,
    run_key,
    stage_optimizer,
    state_shardings,
)
from rlsearch.training.step import Step, check_split, make_step


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
    mesh, rules = make_mesh(config.parallel), config.parallel.rules
    store = CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn)
    stage_ends = ends(stages)
    for stage in stages:
        check_split(stage, mesh, config.parallel.accumulate)
    where = {
        stage.name: state_shardings(model, stage_optimizer(stage), mesh, rules) for stage in stages
    }
    directory.write_config(to_dict(config))  # not before it is known to be a good one

    def abstract_at(step: int) -> TrainState:
        return abstract_state(stages[_stage_of(step, stage_ends)], model, mesh, rules)

    restored = store.restore_latest(lambda step: abstract_at(step)._asdict())
    done, state = (restored[0], TrainState(**restored[1])) if restored else (0, None)
    directory.record_start(resumed_step=done)
    writer = MetricsWriter(directory, done)
    began = time.monotonic() - writer.seconds
    try:
        for stage, end in zip(stages, stage_ends, strict=True):
            if done >= end:
                continue
            if state is None or done == end - stage.num_steps:
                there = where[stage.name]
                params = start_params(stage, stages, config.seed, model, there.params, store)
                state = _start(stage, params, run_key(config.seed, "memory", done), there)
            step = make_step(
                stage, stage_optimizer(stage), mesh, where[stage.name], config.parallel.accumulate
            )
            state = _run_stage(stage, state, step, end, done, began, config, store, writer)
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


def start_params(
    stage: Stage,
    stages: tuple[Stage, ...],
    seed: int,
    model: Model,
    shardings: Any,
    store: CheckpointStore,
) -> Params:
    """The parameters a stage starts from: fresh ones, or the last of the stage before it.

    They are made, or read, where `shardings` says: no device ever holds more than its own part.
    """
    if stage.start is None:
        init = jax.jit(model.init, out_shardings=shardings)
        return init(run_key(seed, "parameters", 0))
    step = ends(stages)[[other.name for other in stages].index(stage.start)]
    return _read_params(store, step, model, shardings)


def load_params(store: CheckpointStore, step: int, model: Model, mesh: Mesh) -> Params:
    """The parameters alone of the checkpoint at `step`, whole on every device of `mesh`."""
    return _read_params(store, step, model, replicated(mesh))


def _read_params(store: CheckpointStore, step: int, model: Model, shardings: Any) -> Params:
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return store.restore_part(step, {"params": placed(shapes, shardings)})["params"]


def _start(stage: Stage, params: Params, key: jax.Array, shardings: TrainState) -> TrainState:
    """The state in which a stage begins."""
    optimizer = stage_optimizer(stage)
    init = jax.jit(
        lambda params, key: init_state(params, optimizer, stage, key), out_shardings=shardings
    )
    return init(params, key)


def _stage_of(step: int, stage_ends: list[int]) -> int:
    """The stage whose state the checkpoint of `step` holds."""
    return next(i for i, end in enumerate(stage_ends) if step <= end)


def _run_stage(
    stage: Stage,
    state: TrainState,
    step: Step,
    end: int,
    done: int,
    began: float,
    config: Experiment | SelfPlayExperiment,
    store: CheckpointStore,
    writer: MetricsWriter,
) -> TrainState:
    first = end - stage.num_steps

    def due(saved_at: float) -> bool:
        return time.monotonic() - saved_at >= config.log.checkpoint_seconds

    with Progress(stage.num_steps, stage.name) as progress:
        saved_at, shown = time.monotonic(), None
        for number in range(max(done, first), end):
            state, metrics = step(state, run_key(config.seed, "training", number))
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
    keys = ("policy_loss", "value_loss", "solved", "ends", "replay_age")
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

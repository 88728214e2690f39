"""Runs the stages of an experiment, and goes on where an earlier start of it was cut off."""

import contextlib
import math
import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from rlsearch.checkpoints.store import Best, CheckpointError, CheckpointStore, is_full_disk
from rlsearch.config import Experiment, LogConfig, SelfPlayExperiment, ShardingRules
from rlsearch.config_file import ConfigError, check_resumable, from_dict, to_dict
from rlsearch.parallel.agreement import LateVote, is_main, wait_for_all
from rlsearch.parallel.mesh import make_mesh
from rlsearch.parallel.sharding import gathered, param_shardings
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.parameters import restore_params, warn
from rlsearch.runs.stage import Checkpoint, Params, Stage
from rlsearch.training.metrics import MetricsWriter
from rlsearch.training.progress import Progress
from rlsearch.training.setup import model_and_stages
from rlsearch.training.state import (
    TrainState,
    abstract_state,
    init_state,
    run_key,
    stage_optimizer,
    state_shardings,
)
from rlsearch.training.step import Step, check_split, make_step
from rlsearch.training.stopping import StopRequest, TrainingStopped
from rlsearch.training.trace import StepTrace

_SHARED_STORAGE_SECONDS = 60.0  # after which a network's file system shows what is new


def train(config: Experiment | SelfPlayExperiment, run_dir: str) -> dict[str, Any]:
    """Trains every stage, or what is left of them, and returns a summary.

    The same config on the same directory resumes it: bit for bit, as no random number depends on
    when a run was stopped. With several processes all of them call it; process 0 alone writes, but
    for checkpoints, which each writes its share of.

    Raises:
        ConfigError: if the directory holds a run of a config that differs where it may not.
        CheckpointError: if a checkpoint cannot be written; what was saved before is untouched.
        FloatingPointError: if a loss stops being a number.
        TrainingStopped: on SIGTERM, SIGINT or SIGHUP, when the step is finished and saved.
    """
    directory = RunDirectory(run_dir)
    store = _open_store(directory, config.log)
    _check_same_run(config, directory, store.latest_step() or 0)
    model, stages = model_and_stages(config)
    mesh, rules = make_mesh(config.parallel), config.parallel.rules
    _check_best_metric(config.log, [stage.name for stage in stages])
    stage_ends = ends(stages)
    for stage in stages:
        check_split(stage, mesh, config.parallel.accumulate)
    where = {
        stage.name: state_shardings(stage.model, stage_optimizer(stage), mesh, rules)
        for stage in stages
    }
    _write_config(config, directory)  # not before it is known to be a good one

    def abstract_at(step: int) -> TrainState:
        return abstract_state(stages[_stage_of(step, stage_ends)], mesh, rules)

    restored = store.restore_latest(lambda step: abstract_at(step)._asdict())
    done, state = (restored[0], TrainState(**restored[1])) if restored else (0, None)
    with StopRequest() as stop:
        if is_main():
            directory.record_start(resumed_step=done)
        writer = MetricsWriter(directory, done)
        began, time_to_save = time.monotonic() - writer.seconds, LateVote(mesh)
        open_run = OpenRun(config, directory, store, writer, began, stop, time_to_save)
        try:
            for stage, end in zip(stages, stage_ends, strict=True):
                if done >= end:
                    continue
                there = where[stage.name]
                read = [read_params(stage.reads, mesh, rules, store)] if stage.reads else []
                if state is None or done == end - stage.num_steps:
                    params = start_params(stage, config.seed, there.params, store)
                    key = run_key(config.seed, "memory", done)
                    state = _start(stage, params, key, there, *read)
                step = make_step(
                    stage, stage_optimizer(stage), mesh, there, config.parallel.accumulate
                )
                state, done = run_stage(open_run, stage, step, state, end, done, *read)
                if stop.at is not None:
                    break
            writer.close()
            store.close()
        except BaseException as error:  # and not what closing fails with then
            for opened in (writer, store):
                with contextlib.suppress(Exception):
                    opened.close()
            if isinstance(error, OSError) and is_full_disk(error):
                raise CheckpointError(
                    f"{directory.path} could not be written to: the disk is full; of checkpoints, "
                    f"{store.last_good()}"
                ) from error
            raise
    if stop.signal is not None and done < stage_ends[-1]:
        raise TrainingStopped(done, stage_ends[-1], stop.signal)
    return {
        "run": str(directory.path),
        "steps": done,
        "stages": {stage.name: end for stage, end in zip(stages, stage_ends, strict=True)},
        "flops": {stage.name: stage.num_steps * stage.flops_per_step.total for stage in stages},
        "parameters": model.num_params(),
        "seconds": time.monotonic() - began,
    }


def _open_store(directory: RunDirectory, log: LogConfig) -> CheckpointStore:
    """The checkpoints of a run in training, and which of them are kept."""
    best = Best(log.keep_best, log.best_metric, log.best_mode) if log.keep_best else None
    return CheckpointStore(
        directory.checkpoints, log.keep_checkpoints, warn, every=log.keep_every_steps, best=best
    )


def ends(stages: tuple[Stage, ...]) -> list[int]:
    """The number of steps done when each stage is over: the names of their last checkpoints."""
    total, result = 0, []
    for stage in stages:
        total += stage.num_steps
        result.append(total)
    return result


def start_params(stage: Stage, seed: int, shardings: Any, store: CheckpointStore) -> Params:
    """The parameters a stage starts from: fresh ones, or the last of another stage.

    They are made, or read, where `shardings` says: no device ever holds more than its own part.
    """
    if stage.start is None:
        init = jax.jit(stage.model.init, out_shardings=shardings)
        return init(run_key(seed, "parameters", 0))
    return _params_at(stage.start, shardings, store)


def read_params(
    point: Checkpoint, mesh: Mesh, rules: ShardingRules, store: CheckpointStore
) -> Params:
    """The parameters that a stage reads and does not learn.

    They lie as searches read them: split over `model`, and whole otherwise.
    """
    shapes = jax.eval_shape(point.model.init, jax.random.key(0))
    shardings = param_shardings(point.model.logical_axes(), shapes, mesh, rules)
    return _params_at(point, gathered(shardings), store)


def _params_at(point: Checkpoint, shardings: Any, store: CheckpointStore) -> Params:
    """The parameters that a stage ended with, of this run, whose `store` is given, or of another.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
    """
    if not point.run:
        return restore_params(store, point.step, point.model, shardings)
    with CheckpointStore(RunDirectory(point.run, create=False).checkpoints, 1, warn) as other:
        return restore_params(other, point.step, point.model, shardings)


def _start(
    stage: Stage, params: Params, key: jax.Array, shardings: TrainState, *read: Params
) -> TrainState:
    """The state in which a stage begins."""
    optimizer = stage_optimizer(stage)
    init = jax.jit(
        lambda params, key, *read: init_state(params, optimizer, stage, key, *read),
        out_shardings=shardings,
    )
    state = init(params, key, *read)
    return state._replace(memory=stage.fill(state.memory)) if stage.fill else state


def _stage_of(step: int, stage_ends: list[int]) -> int:
    """The stage whose state the checkpoint of `step` holds."""
    return next(i for i, end in enumerate(stage_ends) if step <= end)


class OpenRun(NamedTuple):
    """What a start of training has open."""

    config: Experiment | SelfPlayExperiment
    directory: RunDirectory
    store: CheckpointStore
    writer: MetricsWriter
    began: float  # when the run did, by the monotonic clock, had it never stopped
    stop: StopRequest
    time_to_save: LateVote


def run_stage(
    run: OpenRun,
    stage: Stage,
    step: Step,
    state: TrainState,
    end: int,
    done: int,
    *read: Params,
) -> tuple[TrainState, int]:
    """Takes a stage's steps to its end, or to where a stop is asked for.

    What they measure is written, and checkpoints are saved.

    Args:
        state: donated.
        end: number of steps of the run that are done when the stage is.
        done: number of steps of the run that `state` has behind it.
        read: what the stage reads and does not learn, if it does.

    Returns:
        The state, and the number of steps of the run that are done.
    """
    first, log, seed = end - stage.num_steps, run.config.log, run.config.seed
    start = max(done, first)

    def due(number: int, saved_at: float) -> bool:
        wanted = log.keep_every_steps > 0 and number % log.keep_every_steps == 0
        return wanted or time.monotonic() - saved_at >= log.checkpoint_seconds

    called = time.monotonic()
    step = _compiled(step, state, run_key(seed, "training", start), *read)
    progress = Progress(stage.num_steps, stage.name, shown=is_main())
    with progress, StepTrace(run.config.profile, run.directory.profile) as trace:
        saved_at, shown = time.monotonic(), None
        for number in range(start, end):
            key = run_key(seed, "training", number)
            state, metrics = trace.take(number + 1, step, state, key, *read)
            if number == start:  # no other is waited for
                jax.block_until_ready(metrics)
                _tell_first_step(run.directory, stage, time.monotonic() - called, progress)
            number += 1
            _check_best_metric(log, [stage.name], metrics)
            if number == end or (number - first) % log.every_steps == 0:
                seconds = time.monotonic() - run.began
                shown = run.writer.write(number, seconds, stage.name, metrics) or shown
                _check_finite(shown)
                progress.update(number - first, **_headline(shown))
            stopping = run.stop.reached(number)
            wanted = run.stop.wants_save() or due(number, saved_at)
            saving = number == end or stopping or run.time_to_save(wanted)
            if saving:  # what is not a number must never become the newest checkpoint
                values = {name: float(value) for name, value in jax.device_get(metrics).items()}
                _check_finite(values)
                run.writer.flush()  # a run killed after this checkpoint resumes behind it
                run.store.save(
                    number,
                    state._asdict(),
                    permanent=number == end,
                    wait=stopping or number == end,
                    metrics={f"{stage.name}/{name}": value for name, value in values.items()},
                )
                saved_at = time.monotonic()
            if stopping:
                return state, number
    return state, end


def _tell_first_step(
    directory: RunDirectory, stage: Stage, seconds: float, progress: Progress
) -> None:
    progress.note(f"{stage.name}: first step after {seconds:.1f} s, with its compilation")
    if is_main():
        directory.record_first_step(stage.name, seconds)


def _compiled(step: Any, *arguments: Any) -> Step:
    """With several processes, the step compiled by them all before one of them begins it.

    In their first collective they have half a minute to meet, on CPUs at least, and one that finds
    the program in its cache would be there too early.
    """
    if jax.process_count() == 1:
        return step
    step = step.lower(*arguments).compile()
    wait_for_all("rlsearch has compiled a step")
    return step


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


def _begun(config: Experiment | SelfPlayExperiment, done: int) -> list[tuple[str, int]]:
    """Names and lengths of the stages of which some of the first `done` steps are."""
    _, stages = model_and_stages(config)
    pairs = zip(stages, ends(stages), strict=True)
    return [(stage.name, stage.num_steps) for stage, end in pairs if end - stage.num_steps < done]


def _check_best_metric(
    log: LogConfig, stages: list[str], metrics: dict[str, Any] | None = None
) -> None:
    """Raises ValueError where `log.best_metric` is of no stage, or is none of a stage's metrics."""
    if not log.best_metric:
        return
    name, _, metric = log.best_metric.partition("/")
    said = f"log.best_metric is {log.best_metric!r}: it must be"
    if metrics is None and name not in stages:
        raise ValueError(f"{said} STAGE/METRIC with one of the stages {', '.join(stages)}")
    if metrics is not None and name in stages and metric not in metrics:
        raise ValueError(f"{said} {name}/ and one of {', '.join(sorted(metrics))}")


def _write_config(config: Experiment | SelfPlayExperiment, directory: RunDirectory) -> None:
    """Writes config.json, which every process has to see: checkpoints are written by them all."""
    if is_main():
        directory.write_config(to_dict(config))
    wait_for_all("rlsearch has written config.json")
    deadline = time.monotonic() + _SHARED_STORAGE_SECONDS
    while directory.read_config() is None:
        if time.monotonic() > deadline:
            raise ValueError(
                f"process {jax.process_index()} does not see {directory.config}, which process 0 "
                "has written: --run-dir must be on storage that all hosts share"
            )
        time.sleep(1.0)


def _check_same_run(
    config: Experiment | SelfPlayExperiment, directory: RunDirectory, done: int
) -> None:
    """Holds the config against that of the directory's run, if it has one, of which `done` steps
    are done."""
    saved = directory.read_config()
    if directory.imported.exists():
        raise ConfigError(
            f"{directory.path} is an imported run: it has the parameters alone, which can be "
            "evaluated and not trained on, so train in another --run-dir"
        )
    if saved is not None:
        before = from_dict(saved)
        same = before.kind == config.kind and _begun(before, done) == _begun(config, done)
        changed = check_resumable(before, config, same_stages=same)
        if changed:
            warn(f"resuming with changes to {', '.join(changed)}")

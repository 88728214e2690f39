"""Runs the stages of an experiment, and goes on where an earlier start of it was cut off."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from rlsearch.checkpoints.store import CheckpointError, is_full_disk
from rlsearch.config import Experiment
from rlsearch.config_data import ConfigError
from rlsearch.config_file import check_resumable, own_modules, with_types
from rlsearch.parallel.agreement import LateVote, is_main, wait_for_all
from rlsearch.parallel.mesh import data_sharding, make_mesh
from rlsearch.paths import exists
from rlsearch.pretrained.weights import read_params
from rlsearch.runs.checkpoints import StageCheckpoints, stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.lock import RunLock
from rlsearch.runs.opening import saved_config
from rlsearch.runs.parameters import restore_params, warn
from rlsearch.runs.stage import CheckpointRef, Params, Stage, Weights, Writing
from rlsearch.training.beginning import (
    check_best_metric,
    check_finite,
    sole_trainer,
    tell,
    write_config,
)
from rlsearch.training.memory import check_memory, device_memory
from rlsearch.training.metrics import MetricsWriter
from rlsearch.training.progress import Progress
from rlsearch.training.state import (
    TrainState,
    abstract_state,
    init_state,
    read_shardings,
    run_key,
    stage_optimizer,
    state_places,
)
from rlsearch.training.step import Step, check_split, make_step
from rlsearch.training.stopping import StopRequest, TrainingStopped
from rlsearch.training.trace import StepTrace
from rlsearch.training.watch import Watch
from rlsearch.training.writing import check_parts, write_parts

SHOWN = 8  # fields that are named of those that a resumed run changes


def train(config: Experiment, run_dir: str) -> dict[str, Any]:
    """Trains every stage, or what is left of them, and returns a summary.

    The same config on the same directory resumes it: bit for bit, as no random number depends on
    when a run was stopped. With several processes all of them call it; process 0 alone writes, but
    for checkpoints, which each writes its share of.

    Raises:
        ConfigError: if the directory holds a run of a config that differs where it may not.
        CheckpointError: if a checkpoint cannot be written; what was saved before is untouched.
        FloatingPointError: if a loss stops being a number.
        RunInUseError: if another process trains in the directory.
        TrainingStopped: on SIGTERM, SIGINT or SIGHUP, when the step is finished and saved.
    """
    config = with_types(config)
    directory = RunDirectory(run_dir)
    tell(f"{config.name}: preparing to train in {directory.path}")
    with StopRequest() as stop, sole_trainer(directory) as lock:
        return _train(config, directory, stop, lock)


def _train(
    config: Experiment, directory: RunDirectory, stop: StopRequest, lock: RunLock
) -> dict[str, Any]:
    lineage = Lineage(config, own_modules(config), str(directory.path))
    check_best_metric(config.log, [stage.name for stage in config.stages])
    if config.task is not None:  # one whose files are missing says so before there is a run
        jax.eval_shape(lineage.task.draw_task_problem, run_key(config.seed, "training", 0))
    mesh, rules = make_mesh(config.parallel), config.parallel.rules
    check_memory(lineage, mesh, device_memory)
    stages = build_stages(lineage)
    for stage in stages:
        if isinstance(stage, Writing):
            check_parts(stage, mesh)
        else:
            check_split(stage, mesh, config.parallel.accumulate)
    check_same_run(lineage, directory)
    write_config(config, directory)  # not before it is known to be a good one
    ends, place = lineage.ends(), Place(directory, lineage, mesh)
    found = place.newest(stages)
    done = 0 if found is None else found.done
    if is_main():
        directory.record_start(resumed_step=done)
    writer = MetricsWriter(directory, done)
    began = time.monotonic() - writer.seconds
    run = OpenRun(config, directory, writer, began, stop, LateVote(mesh), lock.check)
    with _closing(run, place):
        stop.reached(done)  # it may have been asked for meanwhile
        for stage in stages:
            first = ends[stage.name] - stage.num_steps
            if done >= ends[stage.name] or stop.at is not None:
                continue
            read = place.read(stage)
            if isinstance(stage, Writing):
                done = write_stage(run, place, stage, read, first)
                continue
            if found is not None and found.stage == stage.name:
                state = found.state
            else:
                state = place.start(stage, read, run_key(config.seed, "memory", first))
            found = None  # it is donated
            there = state_places(stage, mesh, rules)
            step = make_step(stage, stage_optimizer(stage), mesh, there, config.parallel.accumulate)
            with place.checkpoints(stage.name, saving=True) as checkpoints:
                place.saving = checkpoints
                running = RunningStage(stage, step, read, first, checkpoints)
                state, done = run_stage(run, running, state, max(done, first))
    if stop.signal is not None and done < max(ends.values()):
        raise TrainingStopped(done, max(ends.values()), stop.signal)
    trained = [stage for stage in stages if isinstance(stage, Stage)]
    return {
        "run": str(directory.path),
        "steps": done,
        "stages": ends,
        "flops": {stage.name: place.flops(stage) for stage in stages},
        "parameters": trained[0].model.num_params() if trained else 0,
        "seconds": time.monotonic() - began,
    }


def build_stages(lineage: Lineage) -> tuple[Stage | Writing, ...]:
    """Builds the stages of an experiment, in their order.

    Raises:
        ValueError: if their fields do not fit together.
    """
    return tuple(settings.build(lineage) for settings in lineage.config.stages)


class Found(NamedTuple):
    """The newest checkpoint of a run."""

    stage: str
    state: TrainState
    done: int  # steps of the run


class Place:
    """The place where a run trains: its checkpoints, and the devices that hold its parameters."""

    def __init__(self, directory: RunDirectory, lineage: Lineage, mesh: Mesh):
        self.directory, self.lineage, self.mesh = directory, lineage, mesh
        self.rules = lineage.config.parallel.rules
        self.saving: StageCheckpoints | None = None  # of the stage in training

    def checkpoints(self, name: str, saving: bool = False) -> StageCheckpoints:
        """Opens the checkpoints of a stage."""
        log = self.lineage.config.log if saving else None
        return stage_checkpoints(self.directory, self.lineage, name, log)

    def newest(self, stages: tuple[Stage | Writing, ...]) -> Found | None:
        """Restores the newest checkpoint that is not damaged, and sets aside those that are."""
        ends = self.lineage.ends()
        for stage in reversed(stages):
            if isinstance(stage, Writing):  # its parts are there or not, and are found again
                continue
            with self.checkpoints(stage.name) as checkpoints:
                if not checkpoints.steps():
                    continue
                abstract = abstract_state(stage, self.mesh, self.rules)._asdict()
                restored = checkpoints.restore_latest(abstract)
            if restored is not None:
                step, state = restored
                if step > stage.num_steps:
                    raise CheckpointError(
                        f"{checkpoints.path(step)} is no checkpoint of this run, whose stage "
                        f"{stage.name} has {stage.num_steps} steps: move it away"
                    )
                done = ends[stage.name] - stage.num_steps + step
                return Found(stage.name, TrainState(**state), done)
        return None

    def start(self, stage: Stage, read: Mapping[str, Params], key: jax.Array) -> TrainState:
        """The state in which a stage begins: fresh parameters, or the last of another stage.

        They are made, or read, where they belong: no device ever holds more than its own part.
        """
        optimizer = stage_optimizer(stage)
        there = state_places(stage, self.mesh, self.rules)
        if stage.start is None:
            init = jax.jit(stage.model.init, out_shardings=there.params)
            params = init(run_key(self.lineage.config.seed, "parameters", 0))
        else:
            params = self.params_at(stage.start, there.params)
        start = jax.jit(
            lambda weights, key: init_state(weights, optimizer, stage, key), out_shardings=there
        )
        state = start(Weights(params, read), key)
        return state._replace(memory=stage.fill(state.memory)) if stage.fill else state

    def flops(self, stage: Stage | Writing) -> float:
        """The FLOPs of a stage that is over."""
        if isinstance(stage, Writing):
            return stage.open(self.directory.rows / stage.name).flops
        return stage.num_steps * stage.flops_per_step.total

    def read(self, stage: Stage | Writing) -> dict[str, Params]:
        """The parameters that a stage reads and does not learn, by their role."""
        return {
            role: self.params_at(ref, read_shardings(ref.model, self.mesh, self.rules))
            for role, ref in stage.reads.items()
        }

    def params_at(self, ref: CheckpointRef, shardings: Any) -> Params:
        """The parameters that a stage of this run, or of another, ended with, or an open model's.

        Raises:
            FileNotFoundError: if there is no such checkpoint, or folder.
        """
        if ref.folder:
            return read_params(ref.folder, ref.model, shardings)
        directory, lineage = self.directory, self.lineage
        if ref.run:
            directory, lineage = RunDirectory(ref.run, create=False), lineage.other(ref.run)
        with stage_checkpoints(directory, lineage, ref.stage) as checkpoints:
            return restore_params(checkpoints, ref.step, ref.model, shardings)


class OpenRun(NamedTuple):
    """The things that a start of training has open."""

    config: Experiment
    directory: RunDirectory
    writer: MetricsWriter
    began: float  # when the run did, by the monotonic clock, had it never stopped
    stop: StopRequest
    time_to_save: LateVote
    check_alone: Callable[[], None] = lambda: None  # raises if another training has taken over


class RunningStage(NamedTuple):
    """A stage in training."""

    stage: Stage
    step: Step
    read: Mapping[str, Params]  # parameters that it reads, by their role
    first: int  # steps of the run in front of it
    checkpoints: StageCheckpoints


@contextlib.contextmanager
def _closing(run: OpenRun, place: Place) -> Iterator[None]:
    """Closes the metrics, whatever ends the training."""
    try:
        yield
        run.writer.close()
    except BaseException as error:  # and not what closing fails with then
        with contextlib.suppress(Exception):
            run.writer.close()
        if isinstance(error, OSError) and is_full_disk(error):
            good = place.saving.last_good() if place.saving else "there is no earlier one"
            raise CheckpointError(
                f"{run.directory.path} could not be written to: the disk is full; of checkpoints, "
                f"{good}"
            ) from error
        raise


def run_stage(
    run: OpenRun, running: RunningStage, state: TrainState, done: int
) -> tuple[TrainState, int]:
    """Takes a stage's steps to its end, or to where a stop is asked for.

    What they measure is written, and checkpoints are saved.

    Args:
        state: donated.
        done: number of steps of the run that `state` has behind it.

    Returns:
        The state, and the number of steps of the run that are done.
    """
    stage, first, log = running.stage, running.first, run.config.log
    end, seed = first + stage.num_steps, run.config.seed

    def due(number: int, saved_at: float) -> bool:
        wanted = log.keep_every_steps > 0 and number % log.keep_every_steps == 0
        return wanted or time.monotonic() - saved_at >= log.checkpoint_seconds

    progress, watch = Progress(stage.num_steps, stage.name, shown=is_main()), Watch(stage.name)
    with progress, StepTrace(run.config.profile, run.directory.profile) as trace:
        progress.begin("compiling the step", done - first)
        called = time.monotonic()
        take = _compiled(running, state, run_key(seed, "training", done), done - first)
        saved_at, shown = time.monotonic(), None
        for number in range(done, end):
            key, fed = run_key(seed, "training", number), _fed(run, stage, number - first)
            state, metrics = trace.take(number + 1, take, state, key, running.read, fed)
            if number == done:  # no other is waited for
                jax.block_until_ready(metrics)
                _tell_first_step(run.directory, stage, time.monotonic() - called, progress)
            number += 1
            run.check_alone()
            check_best_metric(log, [stage.name], metrics)
            if number == end or (number - first) % log.every_steps == 0:
                seconds = time.monotonic() - run.began
                written = run.writer.write(number, seconds, stage.name, metrics, number - first)
                shown = written or shown
                check_finite(shown)
                for line in watch.see(written) if written else ():
                    progress.note(line)
                progress.update(number - first, **_headline(shown))
            stopping = run.stop.reached(number)
            saving = number == end or stopping
            wanted = run.stop.wants_save() or due(number - first, saved_at)
            if saving or run.time_to_save(wanted):
                # What is not a number must never become the newest checkpoint.
                values = {name: float(value) for name, value in jax.device_get(metrics).items()}
                check_finite(values)
                run.writer.flush()  # a run killed after this checkpoint resumes behind it
                running.checkpoints.save(
                    number - first,
                    state._asdict(),
                    permanent=number == end,
                    wait=saving,
                    metrics={f"{stage.name}/{name}": value for name, value in values.items()},
                )
                saved_at = time.monotonic()
            if stopping:
                return state, number
    return state, end


def write_stage(
    run: OpenRun, place: Place, writing: Writing, read: Mapping[str, Params], first: int
) -> int:
    """Writes the rows of a stage, or what is missing of them, to their end or to where a stop is
    asked for.

    Args:
        first: steps of the run in front of it.

    Returns:
        The number of steps of the run that are done; rows may be complete before the last of them.
    """
    rows = writing.open(run.directory.rows / writing.name)
    seed = run.config.seed
    parts = write_parts(
        writing, rows, read, place.mesh, lambda part: run_key(seed, "training", first + part)
    )
    part = 0
    with Progress(writing.num_steps, writing.name, shown=is_main()) as progress:
        progress.begin("compiling")
        for part, known in enumerate(parts, start=1):
            run.check_alone()
            seconds = time.monotonic() - run.began
            run.writer.write(first + part, seconds, writing.name, known, part)
            progress.update(part, **known)
            if run.stop.reached(first + part) and not rows.complete:
                return first + part
    run.writer.flush()
    # Steps that rows did not need are taken at once: processes agree to stop by their numbers.
    for number in range(first + part + 1, first + writing.num_steps + 1):
        if run.stop.reached(number):
            break
    return first + writing.num_steps


def _fed(run: OpenRun, stage: Stage, step: int) -> Any:
    """The host rows of a step, each on the device that it belongs to; None where there are none."""
    if stage.feed is None:
        return None
    rows, sharding = stage.feed(step), data_sharding(make_mesh(run.config.parallel))
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), rows
    )


def _tell_first_step(
    directory: RunDirectory, stage: Stage, seconds: float, progress: Progress
) -> None:
    progress.note(f"{stage.name}: first step after {seconds:.1f} s, with its compilation")
    if is_main():
        directory.record_first_step(stage.name, seconds)


def _compiled(running: RunningStage, state: TrainState, key: jax.Array, step: int) -> Step:
    """Returns, with several processes, the step compiled by them all before one of them begins it.

    In their first collective they have half a minute to meet, on CPUs at least, and one that finds
    the program in its cache would be there too early.
    """
    take: Any = running.step
    if jax.process_count() == 1 or running.stage.judge is not None:
        return take
    fed = None if running.stage.feed is None else running.stage.feed(step)
    take = take.lower(state, key, running.read, fed).compile()
    wait_for_all("rlsearch has compiled a step")
    return take


def _headline(metrics: dict[str, float] | None) -> dict[str, float]:
    keys = (
        "policy_loss",
        "value_loss",
        "verifier_loss",
        "solved",
        "sample_accuracy",
        "ends",
        "replay_age",
    )
    return {key: metrics[key] for key in keys if metrics and key in metrics}


def check_same_run(lineage: Lineage, directory: RunDirectory) -> None:
    """Compares the config with that of the directory's run, if it has one.

    Raises:
        ConfigError: if it is another run, or an imported one.
    """
    before = saved_config(directory, lineage.modules)
    if exists(directory.imported):
        raise ConfigError(
            f"{directory.path} is an imported run: it has the parameters alone, which can be "
            "evaluated and not trained on, so train in another --run-dir"
        )
    if before is None:
        return
    begun = stages_begun(Lineage(before, lineage.modules), directory)
    changed = check_resumable(before, lineage.config, begun)
    if changed:
        more = f" and {len(changed) - SHOWN} more fields" if len(changed) > SHOWN else ""
        warn(f"resuming with changes to {', '.join(changed[:SHOWN])}{more}")


def stages_begun(lineage: Lineage, directory: RunDirectory) -> int:
    """The number of stages of which a step is saved, with those in front of them."""
    begun = 0
    for number, stage in enumerate(lineage.config.stages):
        with stage_checkpoints(directory, lineage, stage.name) as checkpoints:
            if checkpoints.steps() or exists(directory.rows / stage.name):
                begun = number + 1
    return begun

"""Throughput of training, and where the time of a step goes: searching, learning, or the host.

The step is that of the stage that searches. It is taken in two ways that alternate: by the loop of
`rlsearch train`, which also writes metrics and shows progress (checkpoints are left out), and as
many times in one program, in which the host has no part. What the loop takes longer is the
host's share: the devices had nothing to do. The first half of the step alone, in one program
too, gives the share of searching (with the samples and targets that belong to it).
"""

import contextlib
import dataclasses
import functools
import io
import tempfile
import time
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh

from rlsearch.benchmarks.peak import peak_flops
from rlsearch.config import Experiment
from rlsearch.config_file import own_modules
from rlsearch.parallel.agreement import LateVote
from rlsearch.parallel.mesh import make_mesh, over_data
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Stage, Weights
from rlsearch.training.loop import OpenRun, RunningStage, run_stage
from rlsearch.training.metrics import MetricsWriter, read_metrics
from rlsearch.training.state import (
    TrainState,
    init_state,
    run_key,
    stage_optimizer,
    state_places,
)
from rlsearch.training.step import make_produce, make_step
from rlsearch.training.stopping import StopRequest

REPEATS = 3  # timings of each way; they alternate, and medians are compared
STEPS = 10  # of a timing


class _NoStore:
    """Keeps no checkpoint: how often one is due depends on the clock alone."""

    def save(self, *_: Any, **__: Any) -> None:
        pass


def bench_train(config: Experiment) -> dict[str, Any]:
    """Tokens (of a game, positions) and simulations a second, utilisation, and shares of a step.

    Raises:
        ValueError: if no stage of the config searches, or its batch does not fit the devices.
    """
    lineage = Lineage(config, own_modules(config))
    settings = searching_stage(config)
    stage, mesh = settings.build(lineage), make_mesh(config.parallel)
    loop_seconds, device_seconds, search_seconds, rows = _measure(config, stage, mesh)
    work = _work(settings, lineage, rows)
    model: Any = stage.model
    peak, source = peak_flops(mesh, model.config.dtype)
    rate = stage.flops_per_step.total / loop_seconds
    return {
        "config": config.name,
        "stage": stage.name,
        "device": jax.devices()[0].device_kind,
        "devices": mesh.devices.size,
        "batch_size": stage.num_keys,
        "num_simulations": settings.search.num_simulations,
        "parameters": model.num_params(),
        "seconds_per_step": loop_seconds,
        **{f"{name}_per_second": count / loop_seconds for name, count in work.items()},
        "flops_per_second": rate,
        "peak_flops_per_second": peak,
        "peak": source,
        "mfu": rate / peak,
        "search_share": search_seconds / loop_seconds,
        "update_share": (device_seconds - search_seconds) / loop_seconds,
        "host_share": 1.0 - device_seconds / loop_seconds,
    }


def searching_stage(config: Experiment) -> Any:
    """The first stage of a config that searches.

    Raises:
        ValueError: if none does.
    """
    found = [stage for stage in config.stages if hasattr(stage, "searches")]
    if not found:
        raise ValueError(f"config {config.name!r} has no stage that searches")
    return found[0]


def _measure(
    config: Experiment, stage: Stage, mesh: Mesh
) -> tuple[float, float, float, list[dict[str, Any]]]:
    """Seconds of a step in the loop, in one program, and of its first half; and its metrics."""
    optimizer, parallel = stage_optimizer(stage), config.parallel
    places = state_places(stage, mesh, parallel.rules)
    step = make_step(stage, optimizer, mesh, places, parallel.accumulate)
    produce = make_produce(stage, mesh, places.params)
    remember = over_data(mesh, lambda _, *rows: stage.remember(*rows))

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=places)
    def steps(state: TrainState, keys: jax.Array) -> TrainState:
        return jax.lax.scan(step, state, keys)[0]

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=places)
    def collects(state: TrainState, keys: jax.Array) -> TrainState:
        def one(state: TrainState, key: jax.Array) -> tuple[TrainState, None]:
            memory, _ = remember((), state.memory, produce(state, key), None)
            return state._replace(memory=memory), None

        return jax.lax.scan(one, state, keys)[0]

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = RunDirectory(folder)
        directory.record_start()
        writer = stack.enter_context(MetricsWriter(directory, 0))
        short, store = dataclasses.replace(stage, num_steps=STEPS), cast(Any, _NoStore())
        run = OpenRun(config, directory, writer, time.monotonic(), StopRequest(), LateVote(mesh))
        keys = jax.random.split(run_key(config.seed, "evaluation", 0), STEPS)
        done = 0

        def in_the_loop(state: TrainState) -> TrainState:
            nonlocal done
            before, done = done, done + STEPS
            with contextlib.redirect_stderr(io.StringIO()):  # where progress is shown
                running = RunningStage(short, step, {}, before, store)
                return run_stage(run, running, state, before)[0]

        def in_one_program(state: TrainState) -> TrainState:
            return steps(state, keys)

        def first_half(state: TrainState) -> TrainState:
            return collects(state, keys)

        ways = (in_the_loop, in_one_program, first_half)
        seconds: list[list[float]] = [[] for _ in ways]
        state = _begin(config.seed, stage, places)
        for way in ways:  # compiles
            state = jax.block_until_ready(way(state))
        for _ in range(REPEATS):
            for times, way in zip(seconds, ways, strict=True):
                began = time.perf_counter()
                state = jax.block_until_ready(way(state))
                times.append((time.perf_counter() - began) / STEPS)
        writer.flush()
        loop, device, search = (float(np.median(times)) for times in seconds)
        return loop, device, search, read_metrics(directory.metrics)


def _begin(seed: int, stage: Stage, places: TrainState) -> TrainState:
    """The state in which the stage begins with fresh parameters."""

    def begin(params_key: jax.Array, memory_key: jax.Array) -> TrainState:
        weights = Weights(stage.model.init(params_key))
        return init_state(weights, stage_optimizer(stage), stage, memory_key)

    keys = run_key(seed, "parameters", 0), run_key(seed, "memory", 0)
    return jax.jit(begin, out_shardings=places)(*keys)


def _work(settings: Any, lineage: Lineage, rows: list[dict[str, Any]]) -> dict[str, float]:
    """The work of a step: tokens that its searches evaluate, or new positions; and simulations,
    as many as they may take."""
    simulations = settings.searches(lineage) * settings.search.num_simulations
    if "search_tokens" not in rows[0]:
        positions = settings.num_games * settings.moves_per_step
        return {"positions": positions, "simulations": simulations}
    tokens = float(np.mean([row["search_tokens"] for row in rows]))
    return {"tokens": settings.teaching.num_problems * tokens, "simulations": simulations}

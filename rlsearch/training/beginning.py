"""A training's beginning: one process trains a run, its config is written, its metrics checked."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

from rlsearch.config import Experiment, LogConfig
from rlsearch.config_data import to_data
from rlsearch.parallel.agreement import is_main, on_any_process, wait_for_all
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lock import RunInUseError, RunLock
from rlsearch.runs.opening import FORMAT

_SHARED_STORAGE_SECONDS = 60.0  # after which a network's file system shows what is new


def tell(line: str) -> None:
    """Tells the user at once what is being done."""
    if is_main():
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def sole_trainer(directory: RunDirectory) -> Iterator[RunLock]:
    """Holds the lock of a run, which the main process takes for all that train it together.

    Raises:
        RunInUseError: if another training holds it.
        OSError: if its file cannot be written, or not be read.
    """
    lock, failed = RunLock(directory.path, tell), None
    with contextlib.ExitStack() as held:
        if is_main():
            try:
                held.enter_context(lock)
            except (RunInUseError, OSError) as error:
                failed = error
        if on_any_process(failed is not None):
            raise failed or RunInUseError("the main process of this training says why it ends")
        yield lock


def write_config(config: Experiment, directory: RunDirectory) -> None:
    """Writes config.json, which every process has to see: checkpoints are written by them all."""
    if is_main():
        directory.write_config({"format": FORMAT, **to_data(config)})
    wait_for_all("rlsearch has written config.json")
    deadline = time.monotonic() + _SHARED_STORAGE_SECONDS
    while directory.read_config() is None:
        if time.monotonic() > deadline:
            raise ValueError(
                f"process {jax.process_index()} does not see {directory.config}, which process 0 "
                "has written: --run-dir must be on storage that all hosts share"
            )
        time.sleep(1.0)


def check_best_metric(
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


def check_finite(metrics: dict[str, float] | None) -> None:
    for name, value in (metrics or {}).items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value}: training diverged; the last checkpoint is kept; "
                "try a smaller learning_rate in another --run-dir"
            )

"""Metrics of a run, written while the next step runs: metrics.jsonl and TensorBoard events."""

import json
import math
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from tensorboardX import SummaryWriter

from rlsearch.paths import exists, is_remote
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.records import metric_rows

LINE_KEYS = ("step", "stage_step", "seconds", "stage")  # of a line, beside its metrics
_REWRITE_SECONDS = 60.0  # between two uploads of a file that cannot be appended to


class MetricsWriter:
    """Writes metrics one call late, so that neither host nor device waits for the other.

    The step of a line is the number of training steps done when it was measured, as is that of a
    checkpoint. A run that resumes from checkpoint k has `start_step` k: lines of steps beyond k,
    of a run that was killed after that checkpoint, are dropped first, and so is a line cut short.
    Thus the file has every logged step once, in order.

    On a multi-host run only process 0 writes.
    """

    def __init__(self, run_directory: RunDirectory, start_step: int):
        """Opens RUN/metrics.jsonl and RUN/tensorboard/ at `start_step`, the number of steps done.

        Raises:
          ValueError: a line of the file, other than the last, is damaged.
        """
        self._file = None
        self._events = None
        # The keys of a line, and its metrics.
        self._held: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.seconds = 0.0  # the time that the lines kept of earlier starts had taken
        if jax.process_index() != 0:
            return
        run_directory.path.mkdir(parents=True, exist_ok=True)
        self._path = run_directory.metrics
        rows = _up_to(self._path, start_step)
        self._text = "".join(json.dumps(row) + "\n" for row in rows)
        self.seconds = float(rows[-1]["seconds"]) if rows else 0.0
        self._rewritten = time.monotonic()
        self._rewrite()
        if not is_remote(self._path):
            self._file = self._path.open("a")
        # TensorBoard hides the dropped steps too, which stay in the event files of earlier starts.
        self._tensorboard = run_directory.tensorboard
        self._uploaded = tempfile.TemporaryDirectory() if self._file is None else None
        self._events = SummaryWriter(
            self._uploaded.name if self._uploaded else str(self._tensorboard),
            purge_step=start_step + 1 if self._tensorboard.exists() else None,
            filename_suffix=f".{start_step}",  # two starts within a second are two files
        )

    def write(
        self,
        step: int,
        seconds: float,
        stage: str,
        metrics: Mapping[str, jax.Array | float],
        stage_step: int | None = None,
    ) -> dict[str, float] | None:
        """Holds the metrics of this step, and writes those held from the call before.

        Args:
          step: number of steps done.
          seconds: of training, those of earlier starts counted.
          stage: of the training; TensorBoard shows its metrics as `stage/name`.
          metrics: scalars by name, on device or host; NaN and infinities are written as null.
          stage_step: number of steps of the stage done; not written where it is None.

        Returns:
          The metrics written, NaN and infinities as they are; None if nothing was held.

        Raises:
          ValueError: a metric has the name of a key that every line has, or is not a scalar.
        """
        for name, value in metrics.items():
            if name in LINE_KEYS:
                raise ValueError(f"a metric is called {name!r}: that is a key of every line")
            if np.ndim(value) != 0:
                raise ValueError(f"metric {name!r} has shape {np.shape(value)}: it must be scalar")
            if isinstance(value, jax.Array):
                value.copy_to_host_async()
        written = self._flush()
        keys: dict[str, Any] = {"step": int(step), "seconds": float(seconds), "stage": stage}
        if stage_step is not None:
            keys["stage_step"] = int(stage_step)
        self._held = (keys, dict(metrics))
        return written

    def flush(self) -> None:
        """Writes what is held: before a checkpoint, whose step's own line would be lost else."""
        self._flush()
        if self._events is not None and self._file is None:
            self._rewrite()

    def close(self) -> None:
        """Writes the metrics of the last call, and closes the files."""
        self._flush()
        if self._events is None:
            return
        self._events.close()
        if self._file is None:
            self._rewrite()
        else:
            self._file.close()
        if self._uploaded is not None:
            self._uploaded.cleanup()
        self._events = None

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> dict[str, float] | None:
        if self._held is None:
            return None
        keys, metrics = self._held
        self._held = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if self._events is None:  # another process writes
            return values
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        line = keys | {name: finite.get(name) for name in values}
        self._append(json.dumps(line, allow_nan=False) + "\n")
        for name, value in finite.items():
            self._events.add_scalar(f"{keys['stage']}/{name}", value, keys["step"])
        return values

    def _append(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line)
            self._file.flush()
            return
        self._text += line
        if time.monotonic() - self._rewritten > _REWRITE_SECONDS:
            self._rewrite()

    def _rewrite(self) -> None:
        temporary = self._path.parent / f".{self._path.name}.tmp"
        temporary.write_text(self._text)
        temporary.replace(self._path)
        self._rewritten = time.monotonic()
        if self._events is None or self._uploaded is None:
            return
        self._events.flush()  # TensorBoard's writer knows buckets by a library of their own only
        self._tensorboard.mkdir(parents=True, exist_ok=True)
        for file in epath.Path(self._uploaded.name).iterdir():
            (self._tensorboard / file.name).write_bytes(file.read_bytes())


def read_metrics(path: epath.PathLike) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl, one dict a line; a last line cut short is left out.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another line is damaged.
    """
    rows, bad = metric_rows(path)
    if bad:  # what is rewritten without them would be lost
        raise ValueError(f"{path} is damaged: line {bad[0]} is not the metrics of a step")
    return rows


def _up_to(path: epath.Path, start_step: int) -> list[dict[str, Any]]:
    """The lines up to a step."""
    if not exists(path):
        return []
    return [row for row in read_metrics(path) if row["step"] <= start_step]

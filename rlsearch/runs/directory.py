"""The place of a run: the files of the folder RUN/, and the two that say what the run is."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from etils import epath

from rlsearch.files import read_json
from rlsearch.paths import absolute, check_holds_checkpoints, exists
from rlsearch.results import results_folder, saving

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "mctx", "numpy")

MAX_CONFIG = 2**20  # bytes of a config.json
MAX_STARTS = 2**24  # bytes of an environment.json; a start takes about one thousand


class RunDirectory:
    """The folder of one run, local or `gs://`.

    Attributes:
      path: RUN/ itself.
      config: RUN/config.json, the resolved config.
      environment: RUN/environment.json, a list with one entry for each start of the run.
      metrics: RUN/metrics.jsonl, one object a logged step.
      tensorboard: RUN/tensorboard/, the same as event files.
      profile: RUN/profile/, traces of steps, if asked for.
      checkpoints: RUN/checkpoints/, one folder a checkpoint.
      rows: RUN/rows/, one folder a stage that writes rows.
      imported: RUN/imported.json, where the parameters came from; of an imported run only.
    """

    def __init__(self, path: epath.PathLike, create: bool = True):
        """Names the folder, and makes it unless told not to: reading a run makes none."""
        self.path = epath.Path(path)
        self.config = self.path / "config.json"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.profile = self.path / "profile"
        self.checkpoints = self.path / "checkpoints"
        self.rows = self.path / "rows"
        self.imported = self.path / "imported.json"
        if create:
            check_holds_checkpoints(self.path)
            self.path.mkdir(parents=True, exist_ok=True)

    @property
    def evaluations(self) -> epath.Path:
        """RUN/evaluations/, one JSON file an evaluation, or where a command was told to write its
        results."""
        return results_folder(self.path / "evaluations")

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.json; tuples become lists.

        Raises:
          TypeError: a value has no form in JSON.
          ValueError: a number is not finite.
        """
        write_json(self.config, config)

    def read_config(self) -> dict[str, Any] | None:
        """Reads config.json; None where there is no run in the folder.

        Raises:
          ValueError: the file is damaged.
        """
        if not exists(self.config):
            return None
        config = read_json(self.config, MAX_CONFIG, "a run's config")
        if not isinstance(config, dict):
            raise ValueError(f"{self.config} is damaged: it must be a JSON object")
        return config

    def record_start(self, argv: Sequence[str] | None = None, **details: Any) -> None:
        """Appends what runs, on what, and when, to environment.json.

        Args:
          argv: the command line, the program first; by default that of this process.
          details: more to record of this start, such as the step that it resumes.

        Raises:
          ValueError: the file is damaged.
        """
        self._write_starts([*self._read_starts(), describe_environment(argv) | details])

    def record_first_step(self, stage: str, seconds: float) -> None:
        """Adds to the newest start how long a stage's first step took; most of it is compilation.

        Raises:
          ValueError: the file is damaged.
        """
        *starts, newest = self._read_starts() or [{}]
        measured = newest.get("first_step_seconds", {})
        if not isinstance(measured, dict):
            raise ValueError(f"{self.environment} is damaged: first_step_seconds must be an object")
        measured = measured | {stage: seconds}
        self._write_starts([*starts, newest | {"first_step_seconds": measured}])

    def _read_starts(self) -> list[dict[str, Any]]:
        if not exists(self.environment):
            return []
        starts = read_json(self.environment, MAX_STARTS, "a record of starts")
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise ValueError(f"{self.environment} is damaged: it must be a JSON list of objects")
        return starts

    def _write_starts(self, starts: list[dict[str, Any]]) -> None:
        write_json(self.environment, starts)


def describe_environment(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Versions, devices, git revision, command line and time (UTC) of this process, for JSON."""
    program, *arguments = sys.argv if argv is None else argv
    devices = jax.devices()
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [pathlib.PurePath(program).name, *arguments],
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "backend": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "process_count": jax.process_count(),
    }


def write_json(path: epath.PathLike, value: Any) -> None:
    """Writes a JSON file in one go; see `write_text`.

    Raises:
      TypeError: a value has no form in JSON.
      ValueError: a number is not finite.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes a file in one go: a reader sees the old one or the new one, whole."""
    path = epath.Path(path)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def new_folder(path: epath.PathLike) -> Iterator[epath.Path]:
    """A folder to fill, which is named `path` once it is whole, and removed if it never is.

    Raises:
      ValueError: there is something at `path` already.
    """
    path = absolute(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path} is there already: it must not exist, or be an empty folder")
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    finally:
        temporary.rmtree(missing_ok=True)  # it has another name now, or what is in it is not whole


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Revision of the code that runs, with "-dirty" where files differ from it."""
    package = pathlib.Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(package), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--exclude", "*"]  # a tag's name would stand in place of the revision
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None

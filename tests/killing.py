"""Killing a training with SIGKILL at moments drawn by chance, seen from outside by its files."""

import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from rlsearch.config_file import load
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.lock import NAME

_PATIENCE = 600  # seconds until what is waited for has failed to come


class Moment(NamedTuple):
    """When to kill: so many seconds at most behind the beginning of a phase.

    "start": of the process. "compile": when it has read its checkpoint. "step": when it has
    completed one. "save": when it has begun to write one, of a step beyond `beyond`.
    """

    phase: str
    seconds: float
    beyond: int = 0


class Kill(NamedTuple):
    """What a kill has hit, as the files that it left say."""

    phase: str  # as in `Moment`
    step: int  # of the newest complete checkpoint


class _Entry(NamedTuple):
    """A file or folder of checkpoints: what a kill has left half done is written anew under the
    same name."""

    before: int  # steps of the run in front of its stage
    name: str
    inode: int


def draw_seed() -> int:
    """A new one each time; KILL_SEED repeats one. pytest shows it where a test fails."""
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"moments of KILL_SEED={seed}")
    return seed


def kill_training(
    config: str, run: pathlib.Path, moment: Moment, chance: random.Random
) -> Kill | None:
    """Starts or resumes a run and kills it; None if it was done before."""
    starts, before = _starts(run), _entries(run, config)
    code, errors = signal_training(config, run, moment, chance, signal.SIGKILL)
    assert code in (0, -signal.SIGKILL), errors
    if code == 0:
        assert not (run / NAME).exists()  # though those that were killed have left theirs
        return None
    new, step = _entries(run, config) - before, max(_complete(_entries(run, config)), default=0)
    if _in_flight(new):
        return Kill("save", step)
    if _starts(run) == starts:
        return Kill("start", step)
    return Kill("step" if _complete(new) else "compile", step)


def signal_training(
    config: str, run: pathlib.Path, moment: Moment, chance: random.Random, sent: signal.Signals
) -> tuple[int, str]:
    """Starts or resumes a run and sends it a signal; its exit code and standard error."""
    command = [sys.executable, "-m", "rlsearch", "train", config, "--run-dir", str(run)]
    starts, before = _starts(run), _entries(run, config)
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and not _reached(run, config, moment, starts, before):
        assert time.monotonic() < deadline, f"no {moment} within {_PATIENCE} s"
        time.sleep(0.0005)
    time.sleep(chance.uniform(0.0, moment.seconds))
    process.send_signal(sent)
    _, errors = process.communicate()
    return process.returncode, errors


def _reached(
    run: pathlib.Path, config: str, moment: Moment, starts: int, before: set[_Entry]
) -> bool:
    if moment.phase in ("start", "compile"):
        return moment.phase == "start" or _starts(run) > starts
    new = _entries(run, config) - before
    steps = _complete(new) if moment.phase == "step" else _in_flight(new)
    return max(steps, default=0) > moment.beyond


def _entries(run: pathlib.Path, config: str) -> set[_Entry]:
    folder = run / "checkpoints"
    begins = _begins(config)  # before the first look, as it takes a while
    return {
        _Entry(begins[stage.name], entry.name, entry.inode())
        for stage in (folder.iterdir() if folder.exists() else ())
        for entry in os.scandir(stage)
    }


@functools.cache
def _begins(config: str) -> dict[str, int]:
    """Steps of a run in front of each of its stages."""
    lineage = Lineage(load(config))
    return {stage: end - lineage.num_steps(stage) for stage, end in lineage.ends().items()}


def _complete(entries: set[_Entry]) -> list[int]:
    """Steps of the run at the checkpoints among them."""
    return [entry.before + int(entry.name) for entry in entries if entry.name.isdecimal()]


def _in_flight(entries: set[_Entry]) -> list[int]:
    """Those of the ones that are being written, or were cut short."""
    written = [entry for entry in entries if ".orbax-checkpoint-tmp" in entry.name]
    return [entry.before + int(entry.name.partition(".")[0]) for entry in written]


def _starts(run: pathlib.Path) -> int:
    path = run / "environment.json"
    return len(json.loads(path.read_text())) if path.exists() else 0

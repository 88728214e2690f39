"""A run that two processes train in seconds, and the places of a `.venv` in which to train it."""

import dataclasses
import os
import pathlib
import socket
import subprocess
import sys

from rlsearch.config import Experiment, ParallelConfig
from rlsearch.parallel.supervisor import environment as told
from tests import tiny
from tests.boards import tiny_board_experiment

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 8
DEVICES = 4  # of all processes together


def experiment() -> Experiment:
    """Every step is logged and, where no other process has to agree, saved."""
    board = tiny_board_experiment(num_steps=STEPS, num_games=8, reanalysed=0)
    return dataclasses.replace(board, parallel=ParallelConfig(data=DEVICES))


def write_config_file(path: pathlib.Path, config: Experiment | None = None) -> str:
    """Writes an experiment, by default that of here, for the command line; returns its path."""
    return tiny.write_config_file(path, config or experiment())


def make_venv(folder: pathlib.Path) -> pathlib.Path:
    """A `VENV` that runs this code, and says where each training process is: `folder/pid.INDEX`.

    Its `rlsearch evaluate` only says that it was called: what it does is tested elsewhere.
    """
    programs = {
        "python": f'exec {sys.executable} "$@"\n',
        "rlsearch": (
            f'[ "$1" != evaluate ] || {{ echo "evaluated $2"; exit; }}\n'
            f"echo $$ > {folder}/pid.${{JAX_PROCESS_ID:-$SLURM_PROCID}}\n"
            f'exec {sys.executable} -m rlsearch "$@"\n'
        ),
    }
    (folder / "bin").mkdir()
    for name, text in programs.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
    return folder


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start_pair(command: list[str], folders: list[pathlib.Path]) -> list[subprocess.Popen]:
    """`command` in two processes of a device each, in a folder each, that know of each other."""
    port, processes = free_port(), []
    for index, folder in enumerate(folders):
        variables = told(index, processes=2, devices=1, port=port)
        variables = {name: value for name, value in variables.items() if name.startswith("JAX_")}
        processes.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment(**variables),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def environment(**changes: str) -> dict[str, str]:
    """That of the tests, less their eight fake devices."""
    flags = os.environ["XLA_FLAGS"].split()
    rest = [flag for flag in flags if "force_host_platform_device_count" not in flag]
    return {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": " ".join(rest), **changes}

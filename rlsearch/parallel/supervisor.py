"""Runs a command as several processes of this machine, and again when one of them dies.

    python -m rlsearch.parallel.supervisor --processes 2 --devices 4 --restarts 3 -- COMMAND ...

`launch/local.sh --processes N` is this. A process is told of the others by the environment, which
`hosts.py` reads. On clusters the scheduler does what this does: see launch/slurm.sbatch and its
neighbours. Nothing here imports JAX, so that a dying runtime cannot take its supervisor along.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

_POLL_SECONDS = 0.02  # below the time in which a process follows another into death
_GRACE_SECONDS = 120.0  # in which processes that were asked to stop save what they did
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Bad usage, and what was asked for by a signal: starting again would be no better.
_FINAL_CODES = (2, *(128 + number for number in _STOPS))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m rlsearch.parallel.supervisor",
        usage="%(prog)s --processes N [--devices D] [--restarts R] -- COMMAND ...",
    )
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--devices", type=int, default=None, help="of each process")
    parser.add_argument("--restarts", type=int, default=3, help="at most")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args(argv)
    for name, least in (("processes", 1), ("devices", 1), ("restarts", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            parser.error(f"--{name} is {value}: it must be at least {least}")
    return supervise(arguments.command, arguments.processes, arguments.devices, arguments.restarts)


def supervise(command: Sequence[str], processes: int, devices: int | None, restarts: int) -> int:
    """Runs the command until all its processes have ended well, or are not started again.

    A process that dies, or fails otherwise, is named, and the others are killed: they could only
    wait for it. Then all are started again. SIGINT, SIGTERM and SIGHUP, on which they save and end,
    are handed on, and SIGUSR1, on which they save and go on; one that is ignored, as SIGHUP behind
    `nohup`, is so by all.

    Args:
        command: a program and its arguments; it resumes where it was cut off.
        processes: how many.
        devices: of each process: accelerators, or fake devices where there is only a CPU. None
            leaves them all to every process.
        restarts: how often all are started again, at most.

    Returns:
        0 where all ended well; 1 where one failed again after the last restart; else the exit code
        of a process that bad usage, SIGINT, SIGTERM or SIGHUP has ended.
    """
    for attempt in range(restarts + 1):
        group = _Group(command, processes, devices)
        with group:
            failed = group.wait()
        if failed is None:
            return 0
        index, code = failed
        if code in _FINAL_CODES or group.asked:
            return code if code > 0 else 128 - code  # as a shell says it
        what = f"process {index} of {processes} {_ending(code)}"
        if attempt < restarts:
            print(
                f"{what}: the others are ended, and all start again from the last checkpoint "
                f"(restart {attempt + 1} of {restarts})",
                file=sys.stderr,
                flush=True,
            )
    print(
        f"error: {what}, after {restarts} restarts: what the last checkpoint holds is kept, and "
        "the same command goes on from there",
        file=sys.stderr,
    )
    return 1


def environment(index: int, processes: int, devices: int | None, port: int) -> Mapping[str, str]:
    """The environment in which process `index` finds the others, and its devices."""
    changed = {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_COORDINATOR_BIND_ADDRESS": f"localhost:{port}",  # it is nobody else's business
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(index),
    }
    if devices is not None:
        mine = range(index * devices, (index + 1) * devices)
        changed["JAX_LOCAL_DEVICE_IDS"] = ",".join(map(str, mine))  # of GPUs
        fake = f"--xla_force_host_platform_device_count={devices}"
        changed["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fake}".strip()
        # Collectives over fake devices wait for each other: fewer threads than that deadlock.
        threads = max(16, 2 * devices, os.cpu_count() or 1)
        changed["NPROC"] = os.environ.get("NPROC", str(threads))
    return {**os.environ, **changed}


def first_to_fail(codes: Sequence[int | None]) -> tuple[int, int] | None:
    """Index and code of the process that failed, or None; of several, the one that began it.

    SIGKILL comes from outside; JAX ends a process that lost another by SIGABRT, or it exits.
    """
    failed = [(index, code) for index, code in enumerate(codes) if code]
    return min(failed, key=lambda one: one[1], default=None)


class _Group:
    """The processes of one start; a context manager behind which none is left."""

    def __init__(self, command: Sequence[str], processes: int, devices: int | None):
        port = _free_port()
        self._command = list(command)
        self._environments = [environment(i, processes, devices, port) for i in range(processes)]
        self._running: list[subprocess.Popen] = []
        self.asked = False  # to stop
        self._before = {}

    def __enter__(self) -> "_Group":
        for number in (*_STOPS, signal.SIGUSR1):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hand_on)
        for variables in self._environments:
            # In a group of its own: a terminal's Ctrl-C reaches it once, through here.
            self._running.append(subprocess.Popen(self._command, env=variables, process_group=0))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()  # JAX holds SIGTERM back
            process.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> tuple[int, int] | None:
        """Returns when all have ended well: None; or when one has not: its index and code."""
        while True:
            codes = [process.poll() for process in self._running]
            failed = first_to_fail(codes)
            if failed is not None:
                if failed[1] in _FINAL_CODES or self.asked:
                    self._wait_for_all()
                return failed
            if None not in codes:
                return None
            time.sleep(_POLL_SECONDS)

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + _GRACE_SECONDS
        while any(process.poll() is None for process in self._running):
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_SECONDS)

    def _hand_on(self, number: int, frame: object) -> None:
        del frame
        self.asked = self.asked or number in _STOPS
        for process in self._running:
            process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


if __name__ == "__main__":
    sys.exit(main())

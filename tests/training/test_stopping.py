import dataclasses
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest

from rlsearch.stages.self_play import playing_stage
from rlsearch.training import loop
from rlsearch.training.stopping import StopRequest, TrainingStopped
from tests.boards import tiny_board_experiment
from tests.interruption import at_terminal, signal_in_step

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Two processes of different speed; each says when it has begun, and where it was told to stop.
PROCESS = """
import sys, time
import jax
from rlsearch.training.stopping import StopRequest

address, number = sys.argv[1], int(sys.argv[2])
jax.distributed.initialize(address, 2, number)
with StopRequest() as stop:
    for step in range(1, 100_000):
        time.sleep(0.002 + 0.003 * number)
        if step == 3:
            print("begun", flush=True)
        if stop.reached(step):
            break
print(stop.at, stop.signal.name, flush=True)
"""


# A training at a terminal that closes: what it prints must not keep it from saving.
AT_TERMINAL = """
import os, sys, time
os.login_tty(int(sys.argv[1]))
from rlsearch.training.stopping import StopRequest

with StopRequest() as stop:
    step = 0
    while not stop.reached(step):
        step += 1
        print("step", step, file=sys.stderr, flush=True)
        print("step", step, flush=True)
        time.sleep(0.01)
print("saved", stop.signal.name, file=sys.stderr, flush=True)
sys.exit(128 + stop.signal)
"""


def checkpoints(run) -> list[int]:
    names = [path.name for path in (run / "checkpoints" / "self_play").iterdir()]
    return sorted(int(name) for name in names if name.isdecimal())


@pytest.fixture(scope="module")
def config():
    """A run that saves nothing but its end by itself."""
    tiny = tiny_board_experiment()
    return dataclasses.replace(tiny, log=dataclasses.replace(tiny.log, checkpoint_seconds=1e6))


@pytest.mark.parametrize("sent", STOPS)
def test_each_signal_to_stop_saves_and_stops(config, tmp_path, monkeypatch, sent):
    signal_in_step(monkeypatch, 2, sent)
    before = signal.signal(sent, signal.default_int_handler)  # a script's background ignores some
    try:
        with pytest.raises(TrainingStopped) as stopped:
            loop.train(config, str(tmp_path))
    finally:
        signal.signal(sent, before)
    assert (stopped.value.step, stopped.value.signal) == (2, sent)
    assert checkpoints(tmp_path) == [2]


def test_a_warning_of_the_scheduler_saves_and_goes_on(config, tmp_path, monkeypatch, capfd):
    signal_in_step(monkeypatch, 2, signal.SIGUSR1)
    last = playing_stage(config).num_steps
    assert loop.train(config, str(tmp_path))["steps"] == last
    assert checkpoints(tmp_path) == [2, last]
    assert "SIGUSR1: saving soon, and going on" in capfd.readouterr().err


def test_handlers_are_put_back_and_what_was_ignored_is_ignored_still():
    numbers = (*STOPS, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    try:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        with StopRequest() as stop:
            for number in numbers:
                os.kill(os.getpid(), number)
            assert not stop.reached(1) and not stop.wants_save()
        assert all(signal.getsignal(number) is signal.SIG_IGN for number in numbers)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert [stop.wants_save(), stop.wants_save(), stop.reached(1)] == [True, False, False]
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_terminal_that_closes_ends_a_training_saved():
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        at_terminal(sys.executable, "-c", AT_TERMINAL, str(inner)), pass_fds=[inner]
    )
    os.close(inner)
    said = b""
    while b"step 3" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(60) == 129


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_processes_of_one_run_stop_at_the_same_step(sent):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            at_terminal(sys.executable, "-c", PROCESS, address, str(number)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
    processes[1].send_signal(sent)
    found = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found.append(out.split())
    assert found[0][0] == found[1][0] and int(found[0][0]) > 3
    assert [signal_name for _, signal_name in found] == ["SIGTERM", sent.name]

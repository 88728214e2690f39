import os
import signal
import subprocess
import sys
import time

import pytest

from rlsearch.parallel import supervisor
from tests.interruption import at_terminal

INDEX = "import os, signal, sys, time; index = int(os.environ['JAX_PROCESS_ID']); "
SLEEP = "time.sleep(60)"


def run(script, *options):
    """Runs a script as two processes; returns exit code, standard error and seconds."""
    command = [sys.executable, "-m", "rlsearch.parallel.supervisor", "--processes=2", *options]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--", sys.executable, "-S", "-c", INDEX + script], capture_output=True, text=True
    )
    return done.returncode, done.stderr, time.monotonic() - began


def test_processes_that_end_well():
    assert run("sys.exit(0)")[:2] == (0, "")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_process_is_named_and_all_start_again(tmp_path, victim):
    died = tmp_path / "died"
    script = (
        f"died = {str(died)!r}; again = os.path.exists(died); open(died, 'w').close() if index == "
        f"{victim} else None; {SLEEP} if index != {victim} and not again else None; "
        "sys.exit(0) if again else os.kill(os.getpid(), signal.SIGKILL)"
    )
    code, error, seconds = run(script)
    assert code == 0 and seconds < 30
    (line,) = error.splitlines()
    assert line.startswith(f"process {victim} of 2 was killed by SIGKILL: the others are ended")
    assert "restart 1 of 3" in line


def test_restarts_have_a_bound():
    code, error, seconds = run(f"sys.exit(7) if index else {SLEEP}", "--restarts=2")
    assert code == 1 and seconds < 30
    *restarts, last = error.splitlines()
    assert ["restart 1 of 2" in restarts[0], "restart 2 of 2" in restarts[1]] == [True, True]
    assert last.startswith("error: process 1 of 2 ended with exit code 7, after 2 restarts")


@pytest.mark.parametrize(
    ("codes", "first"),
    [
        ([None, 0], None),
        ([None, 1], (1, 1)),
        ([-signal.SIGABRT, -signal.SIGKILL], (1, -signal.SIGKILL)),
        ([1, -signal.SIGABRT], (1, -signal.SIGABRT)),
    ],
)
def test_what_follows_a_death_is_not_taken_for_it(codes, first):
    assert supervisor.first_to_fail(codes) == first


@pytest.mark.parametrize("code", [2, 129, 130, 143])
def test_bad_usage_and_what_was_asked_for_are_final(code):
    assert run(f"sys.exit({code})")[:2] == (code, "")


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_are_handed_on_and_waited_for(tmp_path, sent, code):
    """SIGUSR1 first, behind which all goes on."""
    script = (
        "leave = lambda n, _: (time.sleep(0.2), open(f'{sys.argv[1]}/{index}', 'w').close(), "
        "os._exit(128 + n)); save = lambda *_: open(f'{sys.argv[1]}/saved{index}', 'w').close(); "
        f"signal.signal({int(sent)}, leave); signal.signal(signal.SIGUSR1, save); "
        f"open(f'{{sys.argv[1]}}/up{{index}}', 'w').close(); {SLEEP}"
    )
    command = [sys.executable, "-m", "rlsearch.parallel.supervisor", "--processes=2", "--"]
    command += [sys.executable, "-S", "-c", INDEX + script, str(tmp_path)]
    process = subprocess.Popen(at_terminal(*command), stderr=subprocess.PIPE, text=True)

    def wait_for(files):
        deadline = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < files and time.monotonic() < deadline:
            time.sleep(0.01)

    wait_for(2)
    process.send_signal(signal.SIGUSR1)
    wait_for(4)
    process.send_signal(sent)
    assert process.communicate(timeout=30)[1] == "" and process.returncode == code
    ends = {f"{name}{index}" for name in ("", "up", "saved") for index in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == ends


def test_a_process_is_told_of_the_others_and_of_its_devices(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_x")
    monkeypatch.delenv("NPROC", raising=False)
    told = supervisor.environment(index=1, processes=2, devices=4, port=99)
    assert told["JAX_COORDINATOR_ADDRESS"] == "localhost:99"
    assert (told["JAX_NUM_PROCESSES"], told["JAX_PROCESS_ID"]) == ("2", "1")
    assert told["JAX_LOCAL_DEVICE_IDS"] == "4,5,6,7"
    assert told["XLA_FLAGS"] == "--xla_cpu_x --xla_force_host_platform_device_count=4"
    assert int(told["NPROC"]) >= 16
    assert told["PATH"] == os.environ["PATH"]
    without = supervisor.environment(index=0, processes=2, devices=None, port=99)
    assert "JAX_LOCAL_DEVICE_IDS" not in without and without["XLA_FLAGS"] == "--xla_cpu_x"


@pytest.mark.parametrize("option", ["--processes=0", "--devices=0", "--restarts=-1"])
def test_bad_usage_is_refused(capsys, option):
    with pytest.raises(SystemExit) as refused:
        supervisor.main(["--processes=2", option, "--", "true"])
    assert refused.value.code == 2
    assert f"{option.partition('=')[0]} is" in capsys.readouterr().err

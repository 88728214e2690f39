import signal
import socket
import subprocess
import sys

import pytest

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


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_processes_of_one_run_stop_at_the_same_step(sent):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, address, str(number)],
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

"""launch/slurm.sbatch in a real SLURM: two tasks find each other, and one of them is killed."""

import json
import os
import signal
import subprocess
import time

import pytest

from rlsearch.training.metrics import read_metrics
from tests.launch import two_processes
from tests.launch.slurm_cluster import missing, slurm_cluster

REASON = missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=f"{REASON}")]


def test_two_tasks_train_and_start_again_when_one_is_killed(tmp_path):
    venv, run, log = two_processes.make_venv(tmp_path), tmp_path / "run", tmp_path / "log"
    config = two_processes.write_config_file(tmp_path / "tiny.py")
    (tmp_path / "slurm").mkdir()
    with slurm_cluster(tmp_path / "slurm") as found:
        environment = {
            **two_processes.environment(VENV=str(venv), RESTARTS="1"),
            **{name: found[name] for name in ("SLURM_CONF", "PATH")},
        }
        # As on a cluster: nothing but SLURM tells the tasks of each other.
        for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
            environment.pop(name, None)
        command = ["sbatch", "--wait", "--nodes=1", "--ntasks-per-node=2", f"--output={log}"]
        job = subprocess.Popen(
            [*command, "launch/slurm.sbatch", config, "--run-dir", str(run), "--parallel.data=2"],
            cwd=two_processes.ROOT,
            env=environment,
        )
        checkpoints, deadline = run / "checkpoints", time.monotonic() + 600
        while not any(path.name.isdecimal() for path in checkpoints.glob("*/*")):
            assert job.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.005)
        os.kill(int((venv / "pid.1").read_text()), signal.SIGKILL)
        code = job.wait(600)
    text = log.read_text()
    assert code == 0, text
    assert "localhost: task 1: Killed" in text  # SLURM names it
    assert "it starts again from the last checkpoint (restart 1 of 1)" in text
    assert text.count(f"trained: {run}") == 1
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, two_processes.STEPS + 1))
    starts = json.loads((run / "environment.json").read_text())
    assert [start["process_count"] for start in starts] == [2, 2]
    assert 0 < starts[1]["resumed_step"] < two_processes.STEPS

"""Two real processes on this machine: what each reads, and what happens when one of them dies."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.stages.verifier import LabelsFrom
from rlsearch.training import loop
from rlsearch.training.metrics import read_metrics
from tests.launch import two_processes
from tests.tiny import with_stage, with_stages
from tests.verifier_run import labelled, verifier_experiment


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process, over as many devices as the two have together."""
    path = tmp_path_factory.mktemp("alone")
    loop.train(two_processes.experiment(), str(path))
    return path


def wait_for(condition, seconds=600.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def has_checkpoint(run) -> bool:
    return any(path.name.isdecimal() for path in (run / "checkpoints").glob("*/*"))


def assert_same_curve(run, other):
    one, two = (read_metrics(path / "metrics.jsonl") for path in (run, other))
    assert [row["step"] for row in one] == list(range(1, two_processes.STEPS + 1))
    for a, b in zip(one, two, strict=True):
        assert list(a) == list(b)
        for name in set(a) - {"seconds", "stage"}:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_does(alone, tmp_path, killed):
    venv, run = two_processes.make_venv(tmp_path), tmp_path / "run"
    environment = two_processes.environment(
        VENV=str(venv),
        CONFIG=two_processes.write_config_file(tmp_path / "tiny.py"),
        RUN_DIR=str(run),
    )
    script = str(two_processes.ROOT / "launch" / "local.sh")
    command = ["bash", script, "--processes", "2", "--devices", "2", "--restarts", "1", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            if killed:
                wait_for(lambda: has_checkpoint(run) or process.poll() is not None)
                os.kill(int((venv / "pid.1").read_text()), signal.SIGKILL)
            out, error = process.communicate(timeout=600)
        finally:
            process.terminate()
    assert process.returncode == 0, error
    named = "process 1 of 2 was killed by SIGKILL: the others are ended, and all start again"
    assert (named in error, "restart 1 of 1" in error) == (killed, killed)
    # Process 0 alone writes, and what is not its result is on standard error.
    result, evaluated, _ = out.splitlines()
    assert json.loads(result)["steps"] == two_processes.STEPS
    assert evaluated == f"evaluated {run}"
    assert error.count(f"self_play {two_processes.STEPS}/{two_processes.STEPS}") == 1
    starts = json.loads((run / "environment.json").read_text())
    assert {start["process_count"] for start in starts} == {2}
    assert {start["device_count"] for start in starts} == {two_processes.DEVICES}
    resumed = [start["resumed_step"] for start in starts]
    assert len(resumed) == 1 + killed and (resumed[-1] > 0) == killed
    assert_same_curve(alone, run)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_lost_another_ends_within_a_minute_and_says_which(tmp_path, victim):
    run = tmp_path / "run"
    config = two_processes.write_config_file(tmp_path / "tiny.py")
    command = [sys.executable, "-m", "rlsearch", "train", config, "--run-dir", str(run)]
    command += ["--self_play.num_steps", "100000", "--parallel.data", "2"]
    processes = two_processes.start_pair(command, [tmp_path] * 2)
    try:
        wait_for(lambda: has_checkpoint(run) or any(p.poll() is not None for p in processes))
        processes[victim].kill()
        _, error = processes[1 - victim].communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert processes[1 - victim].returncode != 0
    named = {0: "the leader (usually slice 0 task 0)", 1: "stopped sending heartbeats):\n1\n"}
    assert named[victim] in error


@pytest.mark.slow
def test_each_process_reads_its_own_share_of_labels(tmp_path):
    policy = tmp_path / "policy"
    loop.train(verifier_experiment(()), str(policy))
    made = labelled(policy, "exact")
    assert (made["solutions"], made["solutions_of_a_part"]) == (8, 4)
    folders = [tmp_path / "one", tmp_path / "other"]
    for index, folder in enumerate(folders):  # in which there is the part for its two lanes alone
        (folder / "labels").mkdir(parents=True)
        for name in ("labels.json", f"{index:06d}.npz"):
            shutil.copy(pathlib.Path(made["folder"]) / name, folder / "labels" / name)
    there = LabelsFrom("labels")
    config = dataclasses.replace(
        with_stages(verifier_experiment(("prm",), policy=f"{policy}/base", labels=there), "prm"),
        parallel=ParallelConfig(data=2),
    )
    command = [sys.executable, "-m", "rlsearch", "train"]
    command += [two_processes.write_config_file(tmp_path / "prm.py", config)]
    run = tmp_path / "run"
    processes = two_processes.start_pair([*command, "--run-dir", str(run)], folders)
    try:
        errors = [process.communicate(timeout=600)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    alone = with_stage(config, "prm", labels=LabelsFrom(made["folder"]))
    loop.train(alone, str(tmp_path / "alone"))
    one, other = (read_metrics(path / "metrics.jsonl") for path in (run, tmp_path / "alone"))
    assert len(one) == len(other) == 2
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a["verifier_loss"], b["verifier_loss"], rtol=1e-4)

import os
import sys

import jax
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.parallel import hosts
from rlsearch.parallel.agreement import LateVote, is_main, wait_for_all
from rlsearch.parallel.mesh import make_mesh

TASK = {"SLURM_STEP_NODELIST": "node[01-04]", "SLURM_NTASKS": "4", "SLURM_PROCID": "1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
GIVEN = dict(zip(hosts._EXPLICIT, ("localhost:1234", "2", "1"), strict=True))


@pytest.fixture
def started(monkeypatch):
    """Sets the environment, and records what JAX is asked to start."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: calls.append(given))

    def start(environment):
        for name in list(os.environ):
            if name.startswith(("SLURM_", "JAX_", "TPU_", "MEGASCALE_", "OMPI_", "KUBERNETES_")):
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert hosts.join_hosts(sys.stdout) is sys.stdout
        return calls

    return start


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TASK, "slurm"),
        ({**TASK, "SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # a batch script
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpi"),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        (POD, "kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a notebook's pod
        ({**POD, "TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
        ({**POD, "TPU_WORKER_HOSTNAMES": "a"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, "tpu"),
    ],
)
def test_jax_is_asked_for_the_others_where_there_are_some(started, environment, found, monkeypatch):
    if found == "kubernetes":
        monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: name == "kubernetes")
    calls = started(environment)
    assert hosts.cluster() == found
    assert len(calls) == (found is not None)
    for call in calls:  # which cluster it is JAX finds out itself
        assert set(call) == {"heartbeat_timeout_seconds", "shutdown_timeout_seconds"}
        assert call["heartbeat_timeout_seconds"] < call["shutdown_timeout_seconds"] < 60


def test_what_finds_the_pods_of_a_job_is_missed_in_a_sentence(started, monkeypatch):
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="install the extra k8s"):
        started(POD)


def test_a_tpu_vm_is_asked(started, monkeypatch):
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: name == "libtpu")
    assert started({"TPU_SKIP_MDS_QUERY": "1"}) == []  # as JAX sets it where there is no chip
    assert started({}) == []  # JAX_PLATFORMS is cpu
    monkeypatch.setattr(type(jax.config), "jax_platforms", "tpu,cpu")
    assert len(started({})) == 1


def test_what_is_given_wins(started):
    (call,) = started({**TASK, **GIVEN})
    assert call["coordinator_address"] == "localhost:1234"
    assert (call["num_processes"], call["process_id"]) == (2, 1)


def test_one_process_is_alone_whatever_the_cluster_says(started):
    assert started({**TASK, "JAX_NUM_PROCESSES": "1"}) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_NUM_PROCESSES is set, and JAX_PROCESS_ID is not"),
        ({"JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID is '2': it must be from 0 to 1"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES is 'two': it must be a number"),
        ({"JAX_COORDINATOR_ADDRESS": "node"}, "JAX_COORDINATOR_ADDRESS is 'node': it must be host"),
    ],
)
def test_what_is_given_has_to_make_sense(started, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        started({**GIVEN, **change})


def test_one_process_agrees_with_itself_at_once():
    vote = LateVote(make_mesh(ParallelConfig()))
    assert [vote(yes) for yes in (True, False, True)] == [True, False, True]
    assert is_main()
    wait_for_all("anything")
    hosts.leave(RuntimeError(), explained=True)


def test_many_processes_agree_one_call_later(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    mesh = make_mesh(ParallelConfig())
    vote = LateVote(mesh)
    said = [False, True, True, True, False, False]
    # What has been called for is not asked for again by the vote of the same step.
    assert [vote(yes) for yes in said] == [False, False, True, False, True, False]
    one_of_all = jax.device_put(np.eye(1, 8, 5, dtype=bool)[0], vote._one_each)
    assert bool(vote._any(one_of_all))


def test_what_others_print_goes_to_standard_error(capfd):
    backup = os.dup(1)
    try:
        own = hosts.own_output(sys.__stdout__)
        os.write(1, b"greeting\n")
        print("result", file=own)
        own.close()
    finally:
        os.dup2(backup, 1)
        os.close(backup)
    assert capfd.readouterr() == ("result\n", "greeting\n")

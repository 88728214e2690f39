import os
import sys
import time

import jax
import numpy as np
import pytest

from rlsearch.checkpoints.reading import CheckpointError
from rlsearch.config import ParallelConfig
from rlsearch.parallel import hosts, rendezvous
from rlsearch.parallel.agreement import LateVote, is_main, wait_for_all
from rlsearch.parallel.clusters import EXPLICIT
from rlsearch.parallel.mesh import make_mesh

TASK = {
    "SLURM_JOB_ID": "70",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[01-04]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
GIVEN = dict(zip(EXPLICIT, ("localhost:1234", "2", "1"), strict=True))


@pytest.fixture
def started(monkeypatch, alone):
    """Sets the environment, and records what JAX is asked to start once all have met."""
    calls, met = [], []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: calls.append(given))
    monkeypatch.setattr(rendezvous, "meet", lambda *given: met.append(given))

    def start(environment):
        alone(environment)
        assert hosts.join_hosts(sys.stdout) is sys.stdout
        addresses = [call["coordinator_address"] for call in calls if "process_id" in call]
        assert [address for address, *_ in met] == addresses
        return calls

    return start


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        (POD, "kubernetes"),
        ({**POD, "TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
    ],
)
def test_jax_is_asked_for_the_others_where_it_alone_knows(started, environment, found, monkeypatch):
    if found == "kubernetes":
        monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: name == "kubernetes")
    calls = started(environment)
    assert len(calls) == (found is not None)
    for call in calls:  # which cluster it is JAX finds out itself
        assert set(call) == {"heartbeat_timeout_seconds", "shutdown_timeout_seconds"}
        assert call["heartbeat_timeout_seconds"] < call["shutdown_timeout_seconds"] < 60


def test_what_finds_the_pods_of_a_job_is_missed_in_a_sentence(started, monkeypatch):
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="install the extra k8s") as error:
        started(POD)
    assert all(name in str(error.value) for name in EXPLICIT)


def test_where_jax_waits_in_silence_it_is_said(started, monkeypatch, capsys):
    monkeypatch.setattr(rendezvous, "TELL_SECONDS", 0.01)
    monkeypatch.setattr(hosts, "_connect", lambda arguments: time.sleep(0.2))
    started({**POD, "TPU_WORKER_HOSTNAMES": "a,b"})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the other processes, as tpu has them, did not all join")
    assert all(name in line for name in EXPLICIT)


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


@pytest.mark.parametrize(("given", "ids"), [({}, [3]), ({"JAX_LOCAL_DEVICE_IDS": "0"}, None)])
def test_a_process_of_open_mpi_takes_its_own_gpu(started, given, ids):
    counts = {"SIZE": "4", "RANK": "3", "LOCAL_SIZE": "4", "LOCAL_RANK": "3"}
    mpi = {f"OMPI_COMM_WORLD_{name}": value for name, value in counts.items()}
    launched = {"PRTE_LAUNCHED": "1", "PMIX_NAMESPACE": "prterun-node-7@1"}
    (call,) = started({**mpi, **launched, **given})
    assert call.get("local_device_ids") == ids


def test_one_process_is_alone_whatever_the_cluster_says(started):
    assert started({**TASK, "JAX_NUM_PROCESSES": "1"}) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_NUM_PROCESSES is set, and JAX_PROCESS_ID is not"),
        ({"JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID is '2': it must be from 0 to 1"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES is 'two': it must be a number"),
        ({"JAX_NUM_PROCESSES": "\u00b2"}, "JAX_NUM_PROCESSES is '\u00b2': it must be a number"),
        ({"JAX_COORDINATOR_ADDRESS": "node"}, "JAX_COORDINATOR_ADDRESS is 'node': it must be host"),
        ({"JAX_COORDINATOR_ADDRESS": "node:99999"}, "it must be host:port"),
        ({"JAX_COORDINATOR_BIND_ADDRESS": "node"}, "BIND_ADDRESS is 'node': it must be host:port"),
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


LOST = jax.errors.JaxRuntimeError("UNKNOWN: Connection reset by peer")
IN_FLIGHT = CheckpointError("checkpoint 3 could not be written")  # when another process ended
IN_FLIGHT.__cause__ = LOST
TOLD = CheckpointError("checkpoint 3: UNAVAILABLE: Failed to send RPC to coordination service.")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (LOST, True),
        (IN_FLIGHT, True),
        (TOLD, True),
        (CheckpointError("checkpoint 3: the disk is full"), False),
    ],
)
def test_who_loses_another_waits_for_jax_to_say_which(monkeypatch, capsys, error, lost):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    waited, ended = [], []
    monkeypatch.setattr(hosts.time, "sleep", waited.append)
    monkeypatch.setattr(hosts.os, "_exit", ended.append)
    hosts.leave(error, explained=True)
    assert ("process 0 lost another one" in capsys.readouterr().err) == lost
    assert ended == [1] and waited == [2 * hosts.HEARTBEAT_SECONDS] * lost


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

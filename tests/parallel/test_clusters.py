import pytest

from rlsearch.parallel import clusters
from rlsearch.parallel.clusters import EXPLICIT, Peers, cluster, find_peers

TASK = {
    "SLURM_JOB_ID": "70",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[01-04]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
RANK = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
# As `mpirun` of Open MPI 5.0.11 sets them; the URI is that of each host's own daemon.
PRRTE = {
    **RANK,
    "PRTE_LAUNCHED": "1",
    "PMIX_NAMESPACE": "prterun-gpu-node18-13511@1",
    "PMIX_SERVER_URI41": "prterun-gpu-node18-13511@0.0;tcp4://127.0.0.1:57669",
    "PMIX_RANK": "3",
}
ORTE = {**RANK, "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TASK, "slurm"),
        ({**TASK, "SLURM_STEP_NUM_TASKS": "1"}, None),  # an interactive step of a job of four
        ({**TASK, "SLURM_NTASKS": "1"}, "slurm"),  # and four tasks that one of those started
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # a batch script
        (PRRTE, "mpi"),
        (ORTE, "mpi"),
        ({**TASK, **PRRTE}, "mpi"),  # mpirun in a SLURM job
        ({**TASK, "OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        (POD, "kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a notebook's pod
        ({**POD, "TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
        ({**POD, "TPU_WORKER_HOSTNAMES": "a"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, "tpu"),
        ({**PRRTE, "JAX_PROCESS_ID": "0"}, "explicit"),
        ({**PRRTE, "JAX_NUM_PROCESSES": "1"}, None),
        ({"PMI_SIZE": "1"}, None),
    ],
)
def test_what_started_this_process_is_named(alone, environment, found):
    alone(environment)
    assert cluster() == found


@pytest.mark.parametrize("name", clusters._OTHER_SIZES)
def test_a_launcher_that_says_no_more_is_not_taken_for_a_process_alone(alone, name):
    alone({name: "2"})
    with pytest.raises(ValueError, match=f"{name} is 2") as error:
        cluster()
    assert all(variable in str(error.value) for variable in EXPLICIT)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node001", "node001"),
        ("node001,other2", "node001"),
        ("node[01-04],other2", "node01"),
        ("node[001,007-015]", "node001"),
        ("gpu-a.cluster", "gpu-a.cluster"),
        ("rack[1-2]-ib", "rack1-ib"),
    ],
)
def test_the_first_node_of_a_step_is_where_all_meet(alone, nodes, host):
    alone({**TASK, "SLURM_STEP_NODELIST": nodes})
    address, count, index, _ = find_peers("slurm")
    assert address.rpartition(":")[0] == host
    assert (count, index) == (4, 1)


def test_the_ports_of_steps_and_jobs_differ(alone):
    ports = set()
    for job in range(70, 80):
        for step in range(10):
            alone({**TASK, "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)})
            ports.add(int(find_peers("slurm").address.rpartition(":")[2]))
    assert len(ports) == 100 and all(60999 < port < 65536 for port in ports)
    alone({**TASK, "JAX_COORDINATOR_PORT": "99"})
    assert find_peers("slurm").address == "node01:99"


def test_open_mpi_is_met_where_its_launcher_is(alone):
    alone(PRRTE)
    host, _, port = find_peers("mpi").address.rpartition(":")
    assert find_peers("mpi") == Peers(f"gpu-node18:{port}", 4, 3, 1)
    alone({**PRRTE, "OMPI_COMM_WORLD_LOCAL_SIZE": "4"})
    assert find_peers("mpi").address == f"localhost:{port}"
    alone({**PRRTE, "PMIX_NAMESPACE": "prterun-gpu-node18-13511@2"})  # another of one prterun
    assert find_peers("mpi").address != f"{host}:{port}"
    alone(ORTE)
    assert find_peers("mpi").address.startswith("10.96.0.1:")
    alone({**ORTE, "OMPI_MCA_orte_hnp_uri": "1314521088.0;tcp6://[fe80::b9b,2620::2]:43370"})
    assert find_peers("mpi").address.startswith("[fe80::b9b]:")


@pytest.mark.parametrize("environment", [TASK, PRRTE, ORTE])
def test_what_a_launcher_does_not_say_is_one_sentence(alone, environment):
    """Each of its variables missing, empty, or out of its kind: found, or a sentence."""
    for name in environment:
        for value in (None, "", "x", "-1", "9" * 5000, "\u00b2", "[", "a[", "1.0;tcp://", "@1"):
            alone({other: said for other, said in environment.items() if other != name})
            alone_too = {**environment, name: value} if value is not None else None
            if alone_too:
                alone(alone_too)
            found = cluster()
            if found is None:
                continue
            try:
                address, count, index, _ = find_peers(found)
            except ValueError as error:
                assert all(variable in str(error) for variable in EXPLICIT)
                assert len(str(error)) < 400
            else:
                assert address.rpartition(":")[2].isdecimal() and 0 <= index < count

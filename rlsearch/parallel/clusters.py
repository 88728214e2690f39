"""The other processes of a run, by the environment in which this one was started.

Read here are the variables of rlsearch's user, of SLURM and of Open MPI: where process 0 is, how
many processes there are, and which of them this is. A TPU slice and a Job of Kubernetes are found
by JAX itself; a launcher that is none of these is named, and not taken for a process alone.
"""

import importlib.util
import os
import re
from typing import NamedTuple

# The first is JAX's own. All three, or none: they win over what is detected.
EXPLICIT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")

# Above the ports that Linux hands out by itself, as JAX has it.
_FIRST_PORT, _PORTS = 61440, 4096

# Sizes by which launchers say that there are several, of which nothing says where process 0 is.
_OTHER_SIZES = (
    "PMI_SIZE",  # MPICH, Intel MPI, Cray
    "MV2_COMM_WORLD_SIZE",  # MVAPICH
    "JSM_NAMESPACE_SIZE",  # LSF's jsrun
    "FLUX_JOB_SIZE",
    "WORLD_SIZE",  # torchrun
)


class Peers(NamedTuple):
    """The processes of a run."""

    address: str  # host:port of process 0, at which they meet
    count: int
    index: int  # of this one
    local_index: int | None = None  # among those of this host, where each takes one GPU


def cluster() -> str | None:
    """Names what started this process together with others; None where it is alone.

    One of "explicit" (the three variables), "tpu" (a pod slice, on GKE or on TPU VMs), "mpi" (Open
    MPI), "slurm" (a task of `srun`) and "kubernetes" (a pod of an indexed Job). A TPU VM learns
    only from its metadata server how many it is one of, so JAX is asked there even where it is one
    of one. Of launchers inside each other the innermost counts: `mpirun` in a SLURM job.

    Raises:
        ValueError: if another launcher has started several.
    """
    environment = os.environ
    if environment.get("JAX_NUM_PROCESSES") == "1":
        return None
    if any(environment.get(name) for name in EXPLICIT):
        return "explicit"
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if hosts is not None:
        several = "," in hosts or number("MEGASCALE_NUM_SLICES") > 1
        return "tpu" if several else None
    if _is_tpu_vm():
        return "tpu"
    if "OMPI_COMM_WORLD_SIZE" in environment:
        return "mpi" if number("OMPI_COMM_WORLD_SIZE") > 1 else None
    # A batch script has a number of tasks too, but only `srun` starts as many.
    if "SLURM_STEP_NODELIST" in environment:
        return "slurm" if _step_size() > 1 else None
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "kubernetes"
    for name in _OTHER_SIZES:
        if number(name) > 1:
            raise ValueError(
                f"{name} is {environment[name]}, and nothing says where the other processes are: "
                + remedy()
            )
    return None


def find_peers(found: str) -> Peers:
    """Reads who the others are; `found` is "explicit", "slurm" or "mpi".

    Raises:
        ValueError: if the environment does not say it, or nothing sensible.
    """
    return {"explicit": _explicit, "slurm": _slurm_step, "mpi": _open_mpi}[found]()


def remedy() -> str:
    """Says how processes are told of each other where it is not detected."""
    *first, last = EXPLICIT
    return (
        f"set {', '.join(first)} and {last} in every process, "
        "or JAX_NUM_PROCESSES=1 if there are no others"
    )


def number(name: str, default: int = 0) -> int:
    """Reads an environment variable that is a whole number, by ASCII digits and a few of them."""
    text = os.environ.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else default


def _explicit() -> Peers:
    given = {name: os.environ[name] for name in EXPLICIT if os.environ.get(name)}
    missing = [name for name in EXPLICIT if name not in given]
    if missing:
        raise ValueError(
            f"{' and '.join(given)} is set, and {' and '.join(missing)} is not: processes are told "
            f"of each other by all of {', '.join(EXPLICIT)}, or by their cluster"
        )
    address = given["JAX_COORDINATOR_ADDRESS"]
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"JAX_COORDINATOR_ADDRESS is {address[:200]!r}: it must be host:port")
    count, index = number("JAX_NUM_PROCESSES"), number("JAX_PROCESS_ID", -1)
    if count < 1:
        text = given["JAX_NUM_PROCESSES"][:200]
        raise ValueError(f"JAX_NUM_PROCESSES is {text!r}: it must be a number of at least 1")
    if not 0 <= index < count:
        text = given["JAX_PROCESS_ID"][:200]
        raise ValueError(f"JAX_PROCESS_ID is {text!r}: it must be from 0 to {count - 1}")
    return Peers(address, count, index)


def _step_size() -> int:
    """The number of tasks of this step: that of its job is another one in an interactive step."""
    return number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS"))


def _slurm_step() -> Peers:
    count, index = _step_size(), number("SLURM_PROCID", -1)
    job, nodes = number("SLURM_JOB_ID", -1), os.environ["SLURM_STEP_NODELIST"]
    # 'node001', 'node001,host2', 'node[001-0015],host2' and 'node[001,007-015]-ib'
    first = re.match(r"([\w.-]+)(?:\[(\d+)[\d,-]*\]([\w.-]*))?(?:,|$)", nodes)
    if first is None or job < 0 or not 0 <= index < count:
        raise ValueError(
            f"this is one of {count} tasks of a SLURM step, and SLURM_JOB_ID, SLURM_PROCID and "
            f"SLURM_STEP_NODELIST do not say which, and where the first is: {remedy()}"
        )
    host = "".join(part or "" for part in first.groups())
    return Peers(f"{host}:{_port(job, number('SLURM_STEP_ID'))}", count, index)


def _open_mpi() -> Peers:
    count, index = number("OMPI_COMM_WORLD_SIZE"), number("OMPI_COMM_WORLD_RANK", -1)
    local = number("OMPI_COMM_WORLD_LOCAL_RANK", -1)
    launcher = _open_mpi_launcher()
    if launcher is None or not 0 <= index < count or local < 0:
        raise ValueError(
            f"this is one of {count} processes of Open MPI, and its variables do not say which, "
            f"or where the first is: {remedy()}"
        )
    host, port = launcher
    if number("OMPI_COMM_WORLD_LOCAL_SIZE") == count:
        host = "localhost"  # all are here; a host need not know its own name
    return Peers(f"{host}:{port}", count, index, local)


def _open_mpi_launcher() -> tuple[str, int] | None:
    """Host and port at which the processes of `mpirun` meet: its own host, as process 0 is there.

    Until Open MPI 4 `mpirun` says its addresses. Since 5 it is PRRTE's `prterun`, whose namespace
    is `prterun-HOST-PID@JOB`; the address of a PMIx server is only that of the host's own daemon.
    """
    uri = os.environ.get("OMPI_MCA_orte_hnp_uri", "")
    older = re.match(r"(\d{1,12})\.\d+;(?:tcp://([^,:;]+)|tcp6://\[([^,\];]+))", uri)
    if older:
        job, ipv4, ipv6 = older.groups()
        return ipv4 or f"[{ipv6}]", _port(int(job) // 4096, 0)  # a multiple of 4096
    newer = re.fullmatch(
        r"[a-z]+-([\w.-]+)-(\d{1,12})@(\d{1,12})", os.environ.get("PMIX_NAMESPACE", "")
    )
    if newer and "PRTE_LAUNCHED" in os.environ:
        host, process, job = newer.groups()
        return host, _port(int(process), int(job))
    return None


def _port(job: int, part: int) -> int:
    """A port that follows the job and its part, unless JAX's own variable names one.

    Neighbours in either number get different ones; what is taken all the same is said.
    """
    return number("JAX_COORDINATOR_PORT") or _FIRST_PORT + (job + 1021 * part) % _PORTS


def _is_tpu_vm() -> bool:
    if importlib.util.find_spec("libtpu") is None:
        return False
    if "tpu" not in (os.environ.get("JAX_PLATFORMS") or "tpu").split(","):
        return False  # without importing JAX, which takes a while
    import jax  # where it finds a TPU in this machine, it chooses that

    return (
        "tpu" in (getattr(jax.config, "jax_platforms", None) or "").split(",")
        and "TPU_SKIP_MDS_QUERY" not in os.environ
    )

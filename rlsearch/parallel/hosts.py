"""Many hosts: finding the other processes of a run, and leaving them.

JAX's own runtime connects the processes, and finds most clusters by itself. Here it is only decided
whether to ask it, since a process that is alone must not, and how long a dead process may keep the
others waiting. JAX is imported where it is needed: a command's usage is checked before.
"""

import importlib.util
import io
import os
import sys
import time
import traceback
from typing import Any, TextIO

HEARTBEAT_SECONDS = 20  # a process that is silent for so long is dead, and JAX ends the others
_SHUTDOWN_SECONDS = 2 * HEARTBEAT_SECONDS  # at the end, all wait for all; a death is noticed first

# The first is JAX's own. All three, or none: they win over what is detected.
_EXPLICIT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join_hosts(output: TextIO) -> TextIO:
    """Connects this process with the others of its run, if there are others.

    Called once, before JAX computes anything. The processes are those that `JAX_NUM_PROCESSES`
    counts (1: there are no others, whatever the cluster says), or those of the cluster in which
    this one runs; see `cluster`.

    Raises:
        ValueError: if the variables are not all there, or say nothing sensible, or if what finds
            the others in Kubernetes is not installed.
        RuntimeError: if the others cannot be reached.
    """
    given = {name: os.environ[name] for name in _EXPLICIT if os.environ.get(name)}
    if given.get("JAX_NUM_PROCESSES") == "1":
        return output
    if given:
        arguments = _explicit(given)
    else:
        found = cluster()
        if found is None:
            return output
        if found == "kubernetes" and importlib.util.find_spec("kubernetes") is None:
            raise ValueError(
                "this is a pod of an indexed Job, and the package by which JAX finds the others is "
                "not there: install the extra k8s, set "
                f"{', '.join(_EXPLICIT)}, or JAX_NUM_PROCESSES=1 if there are no others"
            )
        arguments = {}
    import jax

    from rlsearch.parallel.agreement import wait_for_all

    jax.distributed.initialize(
        **arguments,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )
    if jax.process_count() == 1:
        return output
    output = own_output(output)
    # Gloo has them all meet within half a minute once, as here; later they may keep each other
    # waiting for as long as it takes.
    wait_for_all("rlsearch has joined the hosts")
    return output


def cluster() -> str | None:
    """What started this process together with others, or None.

    One of "tpu" (a pod slice, on GKE or on TPU VMs), "slurm" (a task of `srun`), "mpi" (Open MPI)
    and "kubernetes" (a pod of an indexed Job). A TPU VM learns only from its metadata server how
    many it is one of, so JAX is asked there even where it is one of one.
    """
    environment = os.environ
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if hosts is not None:
        several = "," in hosts or _number("MEGASCALE_NUM_SLICES") > 1
        return "tpu" if several else None
    if _is_tpu_vm():
        return "tpu"
    # A batch script has a number of tasks too, but only `srun` starts as many.
    if "SLURM_STEP_NODELIST" in environment and _number("SLURM_NTASKS") > 1:
        return "slurm"
    if _number("OMPI_COMM_WORLD_SIZE") > 1:
        return "mpi"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "kubernetes"
    return None


def own_output(stream: TextIO) -> TextIO:
    """`stream`, on a file descriptor of its own; what others write goes to standard error.

    Gloo, which connects CPUs, greets on standard output, where a command's result alone belongs.
    """
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:  # a test's
        return stream
    stream.flush()
    own = os.dup(descriptor)
    os.dup2(2, descriptor)
    return os.fdopen(own, "w")


def leave(error: BaseException, explained: bool) -> None:
    """Ends a process that failed, where it is one of several; returns where it is alone.

    Python's own way out would wait for the others, and they wait for this one. Where the runtime
    failed, another process has ended first, and JAX is given the time to say which.

    Args:
        error: what it failed with.
        explained: whether the user knows; else its traceback is shown.
    """
    if "jax" not in sys.modules:
        return
    import jax

    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return
    if not explained:
        traceback.print_exception(error)
    if isinstance(error, jax.errors.JaxRuntimeError):
        print(
            f"process {jax.process_index()} lost another one; within {HEARTBEAT_SECONDS} seconds "
            "JAX says which has stopped sending heartbeats",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(_SHUTDOWN_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _explicit(given: dict[str, str]) -> dict[str, Any]:
    missing = [name for name in _EXPLICIT if name not in given]
    if missing:
        raise ValueError(
            f"{' and '.join(given)} is set, and {' and '.join(missing)} is not: processes are told "
            f"of each other by all of {', '.join(_EXPLICIT)}, or by their cluster"
        )
    address = given["JAX_COORDINATOR_ADDRESS"]
    if not address.rpartition(":")[0] or not address.rpartition(":")[2].isdecimal():
        raise ValueError(f"JAX_COORDINATOR_ADDRESS is {address!r}: it must be host:port")
    count, index = _number("JAX_NUM_PROCESSES"), _number("JAX_PROCESS_ID", -1)
    if count < 1:
        text = given["JAX_NUM_PROCESSES"]
        raise ValueError(f"JAX_NUM_PROCESSES is {text!r}: it must be a number of at least 1")
    if not 0 <= index < count:
        text = given["JAX_PROCESS_ID"]
        raise ValueError(f"JAX_PROCESS_ID is {text!r}: it must be from 0 to {count - 1}")
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def _number(name: str, default: int = 0) -> int:
    """An environment variable that is a whole number."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


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

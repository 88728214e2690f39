"""Many hosts: connecting this process with the others of its run, and leaving them.

JAX's own runtime connects them; `clusters.py` says who they are, and `rendezvous.py` who of them is
missing. Here it is decided how long a dead process may keep the others waiting. JAX is imported
where it is needed: a command's usage is checked before.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

from rlsearch.parallel import rendezvous
from rlsearch.parallel.clusters import cluster, find_peers, remedy

HEARTBEAT_SECONDS = 20  # a process that is silent for so long is dead, and JAX ends the others
_SHUTDOWN_SECONDS = 2 * HEARTBEAT_SECONDS  # at the end, all wait for all; a death is noticed first


def join_hosts(output: TextIO) -> TextIO:
    """Connects this process with the others of its run, if there are others.

    Called once, before JAX computes anything. The processes are those that `JAX_NUM_PROCESSES`
    counts (1: there are no others, whatever the cluster says), or those of the cluster in which
    this one runs; see `cluster`. Process 0 tells within 20 s which of them are missing.

    Raises:
        ValueError: if the variables are not all there, or say nothing sensible, or if what finds
            the others in Kubernetes is not installed.
        RuntimeError: if the others cannot be reached.
    """
    found = cluster()
    if found is None:
        return output
    if found == "kubernetes" and importlib.util.find_spec("kubernetes") is None:
        raise ValueError(
            "this is a pod of an indexed Job, and the package by which JAX finds the others is "
            f"not there: install the extra k8s, or {remedy()}"
        )
    if found in ("tpu", "kubernetes"):  # of which JAX finds out the rest
        with _told(found):
            _connect({})
    else:
        _connect(_meet(found))
    import jax

    from rlsearch.parallel.agreement import wait_for_all

    if jax.process_count() == 1:
        return output
    output = own_output(output)
    # Gloo has them all meet within half a minute once, as here; later they may keep each other
    # waiting for as long as it takes.
    wait_for_all("rlsearch has joined the hosts")
    return output


def _meet(found: str) -> dict[str, Any]:
    """Returns when all processes are there; gives JAX's names for where and who they are."""
    peers = find_peers(found)
    bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS") or f":{peers.address.rpartition(':')[2]}"
    if not re.fullmatch(r".*:[0-9]{1,5}", bind):
        raise ValueError(f"JAX_COORDINATOR_BIND_ADDRESS is {bind[:200]!r}: it must be host:port")
    importlib.import_module("jax")  # takes seconds, and behind the meeting all connect at once
    advice = "" if found == "explicit" else f"; where this is not so: {remedy()}"
    rendezvous.meet(peers.address, peers.count, peers.index, bind, advice)
    arguments = {
        "coordinator_address": peers.address,
        "num_processes": peers.count,
        "process_id": peers.index,
    }
    if peers.local_index is not None and not os.environ.get("JAX_LOCAL_DEVICE_IDS"):
        arguments["local_device_ids"] = [peers.local_index]
    return arguments


def _connect(arguments: dict[str, Any]) -> None:
    import jax

    jax.distributed.initialize(
        **arguments,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )


@contextlib.contextmanager
def _told(found: str) -> Iterator[None]:
    """Says that JAX waits, where it alone knows for whom."""
    began = time.monotonic()
    timer = threading.Timer(
        rendezvous.TELL_SECONDS,
        lambda: rendezvous.tell(
            f"the other processes, as {found} has them, did not all join within "
            f"{time.monotonic() - began:.0f} s; JAX gives up after 300 s; where this is not so: "
            f"{remedy()}"
        ),
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
    is at the bottom of it, another process has ended first, and JAX is given the time to say which.

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
    if any(map(_is_of_the_runtime, _causes(error))):
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


def _is_of_the_runtime(error: BaseException) -> bool:
    """Tells whether JAX's runtime raised it, or Orbax for it: not always an error of JAX's class,
    and not always with its cause."""
    import jax

    runtime = isinstance(error, jax.errors.JaxRuntimeError | TimeoutError)
    return runtime or "coordination service" in str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised for: a checkpoint in flight fails when its process does."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

"""Agreement between the processes of a run; a process that is alone agrees at once."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def is_main() -> bool:
    """Tells whether this process is the one that writes files and talks to the user."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns when every process has come here; `name` says where that is."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_any_process(flag: bool) -> bool:
    """Tells whether `flag` is true on any process, all of which call it."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(flag).any())


class LateVote:
    """A vote on whether it is time for something, of which each process's own clock is asked.

    All processes call it at the same steps, and all get the same answer: whether any of them has
    said yes at the call before. No host waits for it, as the devices have counted by then. A
    process that is alone gets its own answer at once.
    """

    def __init__(self, mesh: Mesh):
        everywhere = NamedSharding(mesh, PartitionSpec())
        self._any = jax.jit(jnp.any, out_shardings=everywhere)
        self._one_each = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._counted: jax.Array | None = None

    def __call__(self, yes: bool) -> bool:
        """Gives this process's vote; returns the outcome of the call before."""
        if jax.process_count() == 1:
            return yes
        outcome = self._counted is not None and bool(jax.device_get(self._counted))
        # What was called for is done now, and not asked for again.
        votes = np.full(jax.local_device_count(), yes and not outcome)
        votes = jax.make_array_from_process_local_data(self._one_each, votes)
        self._counted = self._any(votes)
        return outcome

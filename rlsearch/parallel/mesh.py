"""The device mesh, and the one way in which a batch is split over it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rlsearch.config import ParallelConfig

DATA = "data"  # the batch, and with it every search, is split over this axis


def make_mesh(config: ParallelConfig) -> Mesh:
    """A mesh over the devices that `config` asks for.

    Raises:
        ValueError: if there are fewer devices than asked for.
    """
    devices = jax.devices()
    size = len(devices) if config.data == -1 else config.data
    if size > len(devices):
        raise ValueError(f"parallel.data is {size}: there are only {len(devices)} devices")
    return Mesh(np.array(devices[:size]), (DATA,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def data_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of what is split along its first axis."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def over_data(mesh: Mesh, function: Callable) -> Callable:
    """`function(params, batch, ...)` run on every device for its own share of the batch.

    The first argument is whole on every device; all others, and all results, are split along
    their first axis. Nothing inside the function communicates: this is where searches run.
    """

    def split(params: Any, *batched: Any) -> Any:
        return jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(PartitionSpec(), *[PartitionSpec(DATA)] * len(batched)),
            out_specs=PartitionSpec(DATA),
            axis_names={DATA},
            check_vma=False,
        )(params, *batched)

    return split


def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """`[rows]` keys, one folded from each global row index: the same on any mesh."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jax.numpy.arange(rows))


def split_over_data(mesh: Mesh, batch: Any) -> Any:
    """Inside `jit`: asks that every array of `batch` be split along its first axis."""
    sharding = data_sharding(mesh)
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), batch)

"""The device mesh, and the one way in which a batch is split over it.

    replica   whole copies of the parameters, across slow links: only gradients cross it
    data      parameters and optimiser are fully sharded over it, and gathered where they are used
    model     every matrix product is shared over it: tensor parallelism

A batch, and with it every search, is split over `replica` and `data` together.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from rlsearch.config import ParallelConfig

REPLICA, DATA, MODEL = "replica", "data", "model"
AXES = (REPLICA, DATA, MODEL)
BATCH = (REPLICA, DATA)  # the axes over which a batch is split


def make_mesh(config: ParallelConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over the devices that `config` asks for.

    Args:
        devices: real ones, or those of a topology; by default all that there are.

    Raises:
        ValueError: if the sizes of the axes do not fit the devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_sizes(config, len(devices))
    size = math.prod(sizes)
    processes = len({device.process_index for device in devices})
    if size < len(devices) and processes > 1:
        raise ValueError(
            f"{_sizes(config)}: over {processes} processes it must be all {len(devices)} devices"
        )
    return Mesh(arrange(devices[:size], sizes), AXES, axis_types=_types())


def abstract_mesh(config: ParallelConfig, num_devices: int) -> AbstractMesh:
    """The same mesh of devices that nobody has, to lower a program for."""
    return AbstractMesh(mesh_sizes(config, num_devices), AXES, axis_types=_types())


def _types() -> tuple[AxisType, ...]:
    return (AxisType.Auto,) * len(AXES)


def mesh_sizes(config: ParallelConfig, num_devices: int) -> tuple[int, int, int]:
    """Sizes of the three axes, the -1 replaced by what is left.

    Raises:
        ValueError: if they do not fit the number of devices.
    """
    fixed = config.replica * config.model
    if config.data == -1:
        if num_devices % fixed:
            raise ValueError(
                f"parallel.replica x parallel.model is {config.replica} x {config.model}: with "
                f"parallel.data -1 it must divide the number of devices, {num_devices}"
            )
        return config.replica, num_devices // fixed, config.model
    if fixed * config.data > num_devices:
        raise ValueError(f"{_sizes(config)}: there are only {num_devices} devices")
    return config.replica, config.data, config.model


def _sizes(config: ParallelConfig) -> str:
    sizes = config.replica, config.data, config.model
    product = " x ".join(map(str, sizes))
    return f"parallel.replica x data x model is {product} = {math.prod(sizes)}"


def arrange(devices: Sequence[Any], sizes: tuple[int, int, int]) -> np.ndarray:
    """Devices `[replica, data, model]`: `model` on neighbours, replicas across slices.

    Raises:
        ValueError: if slices cannot each hold a whole number of replicas.
    """
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        return jax.make_mesh(sizes, AXES, _types(), devices=devices).devices
    replica, data, model = sizes
    if replica % slices:
        raise ValueError(
            f"parallel.replica is {replica}: the devices are {slices} slices with slow links "
            f"between them, so that it must be a multiple of {slices}"
        )
    inside = (replica // slices, data, model)
    return mesh_utils.create_hybrid_device_mesh(inside, (slices, 1, 1), devices)


def batch_shards(mesh: Mesh | AbstractMesh) -> int:
    """Into how many shares a batch is split."""
    return math.prod(mesh.shape[axis] for axis in BATCH)


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def data_sharding(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """The sharding of what is split along its first axis, over replicas and data."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def over_data(mesh: Mesh | AbstractMesh, function: Callable) -> Callable:
    """`function(params, batch, ...)` run by every share of the devices for its own rows.

    The first argument is whole for each share, or split over `model` alone (`gathered`); all
    others, and all results, are split along their first axis. Inside, nothing is said between one
    share and another: this is where searches run. Within a share the compiler splits matrix
    products over `model` as the parameters are.
    """

    def split(params: Any, *batched: Any) -> Any:
        return jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(PartitionSpec(), *[PartitionSpec(BATCH)] * len(batched)),
            out_specs=PartitionSpec(BATCH),
            axis_names=set(BATCH),
            check_vma=False,
        )(params, *batched)

    return split


def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """`[rows]` keys, one folded from each global row index: the same on any mesh."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jax.numpy.arange(rows))


def split_over_data(mesh: Mesh | AbstractMesh, batch: Any, axis: int = 0) -> Any:
    """Inside `jit`: asks that all arrays of `batch` be split along `axis`."""
    sharding = NamedSharding(mesh, PartitionSpec(*[None] * axis, BATCH))
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), batch)


def ask_host(function: Callable, shape: jax.ShapeDtypeStruct, *arrays: jax.Array) -> jax.Array:
    """Asks the host in the midst of a program: what `function` makes of `arrays`, an array of
    `shape`, with batch axes in front of it where the caller maps.

    In `over_data` each share of the devices asks for its own rows, those of it that differ in
    `model` alone all the same.
    """

    def ask(*arrays: jax.Array) -> jax.Array:
        return jax.pure_callback(function, shape, *arrays, vmap_method="broadcast_all")

    automatic = _automatic(jax.sharding.get_abstract_mesh())
    if not automatic:
        return ask(*arrays)
    # A question can be asked only where no axis is left to the compiler.
    whole = PartitionSpec()
    asked = jax.shard_map(
        ask, in_specs=whole, out_specs=whole, axis_names=set(automatic), check_vma=False
    )
    return asked(*arrays)


def _automatic(mesh: AbstractMesh) -> list[str]:
    """The axes over which the compiler splits what it likes."""
    types = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return [name for name, kind in types if kind == AxisType.Auto]


def rows_alone(x: jax.Array) -> jax.Array:
    """Asks that activations `[B, ...]` be split by rows and whole in all their features.

    A network says so between its blocks; else the compiler may come to split features over `data`,
    as the parameters are, and move activations about instead of gathering parameters. The mesh is
    the one in context (`jax.sharding.use_abstract_mesh`, or a `shard_map`, in which rows are split
    already); where there is none, this does nothing.
    """
    automatic = _automatic(jax.sharding.get_abstract_mesh())
    if not automatic:
        return x
    rows = tuple(axis for axis in BATCH if axis in automatic)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(rows or None, *[None] * (x.ndim - 1)))

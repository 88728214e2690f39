"""The most that a device could do, in FLOPs a second: what a utilisation is held against."""

import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from rlsearch.parallel.mesh import data_sharding, over_data
from rlsearch.planning.chips import find_chip

SIZE, REPEATS = 1024, 5  # of the matrices that are multiplied, and how often


def peak_flops(mesh: Mesh, dtype: str) -> tuple[float, str]:
    """The peak of all devices of the mesh together, and in words where it is from."""
    kind = mesh.devices.flat[0].device_kind
    if chip := find_chip(kind):
        return chip.flops * mesh.devices.size, "data sheet, bfloat16"
    return measured_flops(mesh, dtype), f"a product of {dtype} matrices, measured in this run"


def measured_flops(mesh: Mesh, dtype: str) -> float:
    """The best of some large matrix products, on all devices at once."""
    shape = (mesh.devices.size, SIZE, SIZE)
    matrices = jax.device_put(jnp.ones(shape, dtype), data_sharding(mesh))
    multiply = jax.jit(over_data(mesh, lambda _, x: x @ x))
    jax.block_until_ready(multiply(None, matrices))  # compiles
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(multiply(None, matrices))
        seconds.append(time.perf_counter() - began)
    return 2.0 * mesh.devices.size * SIZE**3 / min(seconds)

"""What a device could do at most, in FLOPs a second: what a utilisation is held against."""

import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from rlsearch.parallel.mesh import data_sharding, over_data

# Dense bfloat16 products of one JAX device (float16 where there is no bfloat16), by the vendors'
# data sheets; the key is how `device_kind` begins, and the longest that fits counts.
PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "Tesla V100": 125e12,
    "Tesla T4": 65e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA GH200": 989e12,
    "NVIDIA B200": 2250e12,
}
SIZE, REPEATS = 1024, 5  # of the matrices that are multiplied, and how often


def peak_flops(mesh: Mesh, dtype: str) -> tuple[float, str]:
    """The peak of all devices of the mesh together, and in words where it is from."""
    kind = mesh.devices.flat[0].device_kind
    known = [name for name in PEAK_FLOPS if kind.startswith(name)]
    if known:
        return PEAK_FLOPS[max(known, key=len)] * mesh.devices.size, "data sheet, bfloat16"
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

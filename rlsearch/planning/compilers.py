"""The compilers of machines that nobody has at hand; they run where there is no such device.

That of TPUs is `libtpu`, that of NVIDIA's GPUs the CUDA plugin of JAX with NVIDIA's assembler. Both
give devices that hold no data and run nothing, to put into a mesh and to compile for.
"""

import contextlib
import importlib.metadata
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from rlsearch.planning.chips import Chip
from rlsearch.planning.topology import Topology


class Compiler(NamedTuple):
    """The compiler for a family of chips, and how it is asked to compile."""

    extra: str  # of this project, which installs it
    packages: tuple[str, ...]  # all that it needs; the first has the compiler
    options: dict[str, Any]  # of `jax.stages.Lowered.compile`

    @property
    def installed(self) -> bool:
        return all(map(_version, self.packages))

    @property
    def version(self) -> str:
        """Such as "libtpu 0.0.42"."""
        return f"{self.packages[0]} {_version(self.packages[0])}"


LIBTPU = Compiler("tpu", ("libtpu",), {})
# Kernels are chosen by timing them, for which there is no GPU. Products then stay cuBLAS's, as most
# are in the end, and are read from the program by their names.
CUDA = Compiler(
    "cuda",
    ("jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12"),
    {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False},
)

# libtpu would ask the machine which TPU it is part of, and wait. Only one process may hold a TPU;
# here none does.
_ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# What the CUDA compiler asks a GPU for where there is one, of H100 and H200 as XLA publishes it. A
# version of cuDNN is needed for convolutions, though cuDNN itself is not.
_HOPPER = """
gpu_device_info {{
  cuda_compute_capability {{ major: 9 }}
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  l2_cache_size: 52428800
  memory_bandwidth: {bandwidth:.0f}
  device_memory_size: {memory:.0f}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{kind}"
"""


def compiler_of(topology: Topology) -> Compiler:
    """The compiler for a machine's chips."""
    return LIBTPU if topology.family else CUDA


def has_compiler(topology: Topology) -> bool:
    """Tells whether its compiler is installed here."""
    return compiler_of(topology).installed


def devices_of(topology: Topology) -> list[Any]:
    """Its devices, to compile for; see `has_compiler`. They hold no data and run nothing."""
    from jax.experimental import topologies as jax_topologies

    asked = _tpus(topology) if topology.family else _gpus(topology)
    with _environment(_ALONE), _silenced(), _closed_terminals_end_us():
        return list(jax_topologies.get_topology_desc(**asked).devices)


def _tpus(topology: Topology) -> dict[str, Any]:
    """The keywords by which JAX is asked for these devices."""
    shape = "x".join(map(str, topology.shape))
    options = {"chips_per_host_bounds": (1, 1, 1)} if topology.num_chips == 1 else {}
    return {"platform": "tpu", "topology_name": f"{topology.family}:{shape}", **options}


def _gpus(topology: Topology) -> dict[str, Any]:
    """The keywords by which JAX is asked for these devices."""
    hosts, gpus = topology.shape
    return {
        "platform": "cuda",
        "topology_name": topology.name,
        "topology": f"1x{hosts}x{gpus}",  # one fast network, of all hosts
        "target_config": _target(topology.chip),
    }


def _target(chip: Chip) -> str:
    """XLA's `GpuTargetConfigProto` of a chip."""
    return _HOPPER.format(kind=chip.kind, bandwidth=chip.bandwidth, memory=chip.memory)


def _version(package: str) -> str | None:
    """None: it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def kept_nowhere() -> Iterator[None]:
    """Programs that are compiled meanwhile are not written to JAX's persistent cache.

    Those for devices that are not here could not be read from it.
    """
    import jax

    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, float("inf"))
    try:
        yield
    finally:
        jax.config.update(name, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets these variables where they are not set, and unsets them afterwards.

    A process that is started later would believe that it runs on a TPU.
    """
    missing = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _closed_terminals_end_us() -> Iterator[None]:
    """Takes back that libtpu has SIGHUP ignored, by this process and by all that it starts."""
    try:
        yield
    finally:
        handler = signal.getsignal(signal.SIGHUP)  # Python's own record, which libtpu goes past
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, handler)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Without what libraries write to standard error: that there is no TPU, or no GPU."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

"""Machines by the names that clouds sell them under, and their devices where nobody has one.

    v5e-16, v6e-256     so many TPU chips
    v5p-256             so many cores: two a chip
    h200-8, h100-8x4    GPUs of a host, and hosts

The compiler of TPUs, the package `libtpu`, runs on a machine that has no TPU.
"""

import contextlib
import dataclasses
import importlib.util
import math
import os
import sys
from collections.abc import Iterator
from typing import Any

from rlsearch.config_file import nearest
from rlsearch.parallel.chips import H100, H200, V5E, V5P, V6E, Chip

_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = (
    *("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16"),
    *("8x16x16", "16x16x16", "16x16x24"),
)
# libtpu would ask the machine which TPU it is part of, and wait. Only one process may hold a TPU;
# here none does.
_ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_GPUS_OF_A_HOST, _HOSTS = 8, (1, 2, 4, 8, 16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Topology:
    """So many chips of a kind, and how they are connected."""

    name: str
    chip: Chip
    shape: tuple[int, ...]  # of a TPU's grid; of GPUs: hosts, and GPUs of each
    family: str = ""  # of TPUs, as their compiler calls it; empty: GPUs

    @property
    def num_chips(self) -> int:
        return math.prod(self.shape)


def topologies() -> dict[str, Topology]:
    """All that are known, by name."""
    found = []
    for family, chip, shapes, cores in (
        ("v5e", V5E, _FLAT, 1),
        ("v5p", V5P, _CUBES, 2),
        ("v6e", V6E, _FLAT, 1),
    ):
        for text in shapes:
            slice = Topology("", chip, tuple(map(int, text.split("x"))), family)
            name = f"{family}-{cores * slice.num_chips}"
            found.append(dataclasses.replace(slice, name=name))
    for family, chip in (("h100", H100), ("h200", H200)):
        for hosts in _HOSTS:
            name = f"{family}-{_GPUS_OF_A_HOST}" + f"x{hosts}" * (hosts > 1)
            found.append(Topology(name, chip, (hosts, _GPUS_OF_A_HOST)))
    return {topology.name: topology for topology in found}


def find_topology(name: str) -> Topology:
    """The topology of that name.

    Raises:
        ValueError: if there is none.
    """
    known = topologies()
    if name not in known:
        close = nearest(name, known)
        hint = f"the nearest is {close}; " if close else ""
        raise ValueError(f"there is no topology {name!r}: {hint}known are {', '.join(known)}")
    return known[name]


def has_compiler(topology: Topology) -> bool:
    """Whether its compiler is installed here."""
    return bool(topology.family) and importlib.util.find_spec("libtpu") is not None


def devices_of(topology: Topology) -> list[Any]:
    """Its devices, to compile for; see `has_compiler`. They hold no data and run nothing."""
    from jax.experimental import topologies as jax_topologies

    shape = "x".join(map(str, topology.shape))
    options = {"chips_per_host_bounds": (1, 1, 1)} if topology.num_chips == 1 else {}
    with _environment(_ALONE), _silenced():
        description = jax_topologies.get_topology_desc(
            platform="tpu", topology_name=f"{topology.family}:{shape}", **options
        )
    return list(description.devices)


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
    """With these variables where they are not set, and without them afterwards.

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
def _silenced() -> Iterator[None]:
    """Without what libraries write to standard error: libtpu warns that there is no TPU."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

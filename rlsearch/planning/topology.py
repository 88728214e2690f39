"""Machines by the names that clouds sell them under.

    v5e-16, v6e-256     so many TPU chips
    v5p-256             so many cores: two a chip
    h200-8, h100-8x4    GPUs of a host, and hosts

What compiles for them, and has their devices where nobody has one, is in `compilers.py`.
"""

import dataclasses
import math

from rlsearch.config_file import nearest
from rlsearch.planning.chips import H100, H200, V5E, V5P, V6E, Chip

_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = (
    *("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16"),
    *("8x16x16", "16x16x16", "16x16x24"),
)
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

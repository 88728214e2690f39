"""The most that accelerators can do, by their vendors' data sheets: what is measured is held
against it, and a plan is made with it."""

from typing import NamedTuple

GIB = 2**30


class Chip(NamedTuple):
    """One JAX device. All rates are a second's."""

    kind: str  # how its `device_kind` begins
    flops: float  # dense products in bfloat16 (float16 where there is no bfloat16)
    memory: float = 0.0  # bytes of its large memory; 0: not written down here, nor is what follows
    bandwidth: float = 0.0  # bytes, to and from that memory
    links: float = 0.0  # bytes that it can send to its neighbours: half of what is called both ways


# Google's pages on v5e, v5p and v6e give all four (read in November 2026), and that of v4 the peak;
# they call 16, 32 and 95 "GB" or "GiB" of memory. H100 and H200 are the SXM modules.
V5E = Chip("TPU v5 lite", 197e12, 16 * GIB, 819e9, 200e9)
V5P = Chip("TPU v5", 459e12, 95 * GIB, 2765e9, 600e9)
V6E = Chip("TPU v6 lite", 918e12, 32 * GIB, 1638e9, 400e9)
H100 = Chip("NVIDIA H100", 989e12, 80e9, 3350e9, 450e9)
H200 = Chip("NVIDIA H200", 989e12, 141e9, 4800e9, 450e9)

CHIPS = (
    *(V5E, V5P, V6E, H100, H200),
    Chip("TPU v4", 275e12),
    Chip("NVIDIA A100", 312e12),
    Chip("NVIDIA H100 PCIe", 756e12),
    Chip("NVIDIA GH200", 989e12),
    Chip("NVIDIA B200", 2250e12),
    Chip("NVIDIA L4", 121e12),
    Chip("NVIDIA L40S", 362e12),
    Chip("Tesla V100", 125e12),
    Chip("Tesla T4", 65e12),
)


def find_chip(device_kind: str) -> Chip | None:
    """The chip with the longest name that `device_kind` begins with; None: it is not known."""
    known = [chip for chip in CHIPS if device_kind.startswith(chip.kind)]
    return max(known, key=lambda chip: len(chip.kind), default=None)

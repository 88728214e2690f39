"""The work of a compiled program on one device, and the bytes it moves, loops counted as often as
they turn, or may turn.

FLOPs are those of products, see `products.py`.
Bytes are those that operations read from the device's large memory and write to it; what lies in
faster memory on the chip, where the program says so, costs none. That of a GPU, its cache, is in no
program: there all that kernels read and write is counted.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from rlsearch.planning.hlo import Instruction, Program, arrays_of, runs, scopes
from rlsearch.planning.products import flops_of, library_of

_FREE = {  # move nothing themselves
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"),
    *("call", "after-all", "partition-id", "replica-id", "optimization-barrier", "copy-done"),
    *("async-start", "async-update", "async-done", "add-dependency"),
}
_READERS = ("dynamic-slice", "slice", "gather")  # read no more of their operand than they give
_SLICERS = ("slice-start", "dynamic-slice-start")
_WRITERS = {"dynamic-update-slice": 1, "scatter": 2}  # write in place; which operand is written


class EndedByData(NamedTuple):
    """Numbers of loops whose length the data decides."""

    longest: int = 0  # counted at their longest
    once: int = 0  # counted as one turn: it is not known how long they may be

    def __add__(self, other: "EndedByData") -> "EndedByData":
        return EndedByData(self.longest + other.longest, self.once + other.once)


class Work(NamedTuple):
    """Sums over one run of a program, by the part of the program that they belong to."""

    flops: dict[str, float]
    bytes: dict[str, float]
    loops: EndedByData

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())

    @property
    def total_bytes(self) -> float:
        return sum(self.bytes.values())


def work_of(program: Program, part: Callable[[str], str], once: bool = False) -> Work:
    """Counts the work of a program.

    Args:
        part: names the part that a scope belongs to; "" is a scope that is not known.
        once: count the body of every loop once, as compilers do.
    """
    times = runs(program)
    if once:
        times = {name: float(often > 0) for name, often in times.items()}
    scope = scopes(program)
    fused = {
        name
        for computation in program.computations.values()
        for instruction in computation.values()
        if instruction.opcode == "fusion"
        for name, _ in program.called(instruction)
    }
    flops, moved = defaultdict(float), defaultdict(float)
    for name, computation in program.computations.items():
        if not times[name]:
            continue
        for instruction in computation.values():
            where = part(instruction.scope or scope.get(name, ""))
            flops[where] += times[name] * flops_of(instruction, computation)
            if name not in fused:
                moved[where] += times[name] * _bytes(instruction, computation, program)
    ended = [x for body, x in program.loops.items() if x.trips is None and times[body] > 0]
    unknown = sum(loop.most is None for loop in ended)
    return Work(flops, moved, EndedByData(len(ended) - unknown, unknown))


def _bytes(instruction: Instruction, around: dict[str, Instruction], program: Program) -> float:
    opcode = instruction.opcode
    if opcode in _FREE or opcode.endswith("-done"):
        return 0.0
    if opcode == "fusion":
        return _fusion_bytes(instruction, around, program)
    read = [_large(around[name].shape) for name in instruction.operands if name in around]
    written = _large(instruction.shape)
    if opcode == "custom-call" and library_of(instruction) and len(instruction.arrays) > 1:
        written -= instruction.arrays[-1].bytes  # room to work in
    if opcode in _READERS:
        return min(written, read[0]) + written + sum(read[1:])
    if opcode in _WRITERS:
        return 2.0 * _large(around[instruction.operands[_WRITERS[opcode]]].shape)
    if opcode in _SLICERS:  # its result is what it reads of, the slice, and a token
        (part,) = instruction.arrays[-2:-1]
        return part.bytes * (1.0 if part.memory else 2.0)
    if opcode.endswith("-start"):  # its result repeats what it reads
        return max(written, sum(read))
    return written + sum(read)


def _fusion_bytes(
    instruction: Instruction, around: dict[str, Instruction], program: Program
) -> float:
    """Counts the bytes that a fusion reads and writes: of an operand that it slices, the slices."""
    inside = _inside(instruction, program)
    root = next(x for x in inside.values() if x.root)
    results = [inside[x] for x in root.operands] if root.opcode == "tuple" else [root]
    total = 0.0
    for result, array in zip(results, instruction.arrays, strict=False):
        if array.memory or result.opcode == "parameter":
            continue
        if result.opcode in _WRITERS:
            written = inside[result.operands[_WRITERS[result.opcode]]]
            total += sum(x.bytes for x in written.arrays)
        else:
            total += array.bytes
    for number, operand in enumerate(instruction.operands):
        whole = _large(around[operand].shape) if operand in around else 0.0
        if whole:
            total += _read(number, inside, whole, program)
    return total


def _inside(fusion: Instruction, program: Program) -> dict[str, Instruction]:
    (name, _), *_ = program.called(fusion)
    return program.computations[name]


def _read(number: int, inside: dict[str, Instruction], whole: float, program: Program) -> float:
    """Counts how much is read of a fusion's parameter of that number, of `whole` bytes."""
    parameters = (x for x in inside.values() if x.opcode == "parameter")
    name = next(x.name for x in parameters if int(x.text.partition(")")[0]) == number)
    total = 0.0
    for user in inside.values():
        for place, operand in enumerate(user.operands):
            if operand != name:
                continue
            if user.opcode == "fusion":
                total += _read(place, _inside(user, program), whole, program)
            elif user.opcode in _READERS and place == 0:
                total += sum(x.bytes for x in user.arrays)
            elif not (user.opcode in _WRITERS and place == 0) and user.opcode != "tuple":
                return whole
    return min(total, whole)


def _large(shape: str) -> float:
    """Bytes of a shape that lie in the device's large memory."""
    return float(sum(array.bytes for array in arrays_of(shape) if array.memory == 0))

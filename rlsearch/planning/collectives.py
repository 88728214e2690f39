"""The messages between devices of a compiled program: over which mesh axis, in which loop."""

import math
import re
from typing import NamedTuple

import numpy as np
from jax.sharding import AbstractMesh, Mesh

from rlsearch.planning.hlo import Instruction, Program, reached, read_program, runs, scopes

_KINDS = (
    *("all-reduce", "all-gather", "all-to-all", "ragged-all-to-all", "collective-permute"),
    *("collective-broadcast", "reduce-scatter"),
)
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(" + _IOTA + r"\))? \{([^}]*)\}"
)
_CHANNEL = re.compile(r"channel_id=(\d+)")


class Collective(NamedTuple):
    """One collective operation of a program."""

    kind: str  # "all-reduce", "all-gather", ...
    axes: tuple[str, ...]  # of the mesh, over which it communicates; none: every device with itself
    loops: tuple[str, ...]  # the scopes of the while loops it runs in; none: outside of any
    scope: str  # of the operation that it belongs to, such as "jit(step)/update/..."
    bytes: float = 0.0  # of what a device has of it when it is whole: gathered, or to be reduced
    members: int = 1  # devices that talk to each other
    runs: float = 1.0  # in one run of the program; a loop of no fixed length turns once

    @property
    def sent(self) -> float:
        """Bytes that a device sends in one run of the program, at least."""
        share = (self.members - 1) / self.members
        times = {"all-reduce": 2 * share, "collective-permute": 1.0}.get(self.kind, share)
        return self.runs * times * self.bytes


def collectives(text: str | Program, mesh: Mesh | AbstractMesh) -> list[Collective]:
    """All collectives of a program.

    A TPU's compiler takes a collective apart, and fuses each part with what runs between its begin
    and its end, which may be another loop. All parts name one channel; the begin alone counts.

    Args:
        text: `compiled.as_text()`, or what `read_program` makes of it.
        mesh: the mesh that it was compiled for.
    """
    program = read_program(text) if isinstance(text, str) else text
    inside, around = _loops(program), scopes(program)
    times, devices = runs(program), math.prod(mesh.shape.values())
    begun = _begun(program)
    found: dict[tuple, Collective] = {}
    for name, computation in program.computations.items():
        loops = tuple(sorted(scope for scope, reached in inside if name in reached))
        for instruction in computation.values():
            kind = instruction.opcode.removesuffix("-start")
            if kind not in _KINDS:
                continue
            groups = _members(instruction.text, devices)
            channel = _channel(instruction)
            if name not in begun.get((kind, channel), {name}):
                continue  # it goes on, or ends, here
            apart = (kind, channel, loops) if channel else (name, instruction.name)
            members = 2 if kind == "collective-permute" else groups.shape[1]
            collective = Collective(
                kind,
                _axes(groups, mesh),
                loops,
                instruction.scope or around.get(name, ""),
                _payload(kind, instruction, computation, members),
                members,
                times[name],
            )
            found.setdefault(apart, collective)
    return list(found.values())


def _channel(instruction: Instruction) -> str:
    match = _CHANNEL.search(instruction.text)
    return match[1] if match else ""


def _begun(program: Program) -> dict[tuple[str, str], set[str]]:
    """Finds where collectives that are taken apart begin, by kind and channel."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, computation in program.computations.items():
        if any('"AsyncCollectiveStart"' in x.text for x in computation.values()):
            for instruction in computation.values():
                if instruction.opcode in _KINDS:
                    key = instruction.opcode, _channel(instruction)
                    found.setdefault(key, set()).add(name)
    return found


def _payload(
    kind: str, instruction: Instruction, around: dict[str, Instruction], members: int
) -> float:
    """Bytes of the operands, as the result of what is only begun repeats them."""
    known = [around[name] for name in instruction.operands if name in around]
    if not known:
        return float(sum(array.bytes for array in instruction.arrays))
    size = sum(array.bytes for operand in known for array in operand.arrays)
    return float(size * members if kind == "all-gather" else size)


def num_loops(text: str) -> int:
    """Counts the while loops of a program."""
    return len(read_program(text).loops)


def _loops(program: Program) -> list[tuple[str, set[str]]]:
    """For each while loop its scope, and the computations that run in it, at any depth."""
    return [
        (loop.scope, reached(program, loop.condition, loop.body)) for loop in program.loops.values()
    ]


def _members(line: str, devices: int) -> np.ndarray:
    """`[groups, members]` the devices that talk to each other, in any of the ways XLA writes it.

        replica_groups={{0,1},{2,3}}                        lists
        replica_groups=[2,2]<=[2,2]T(1,0)                   an iota, turned and cut
        replica_groups=mesh['a'=2,'b'=2] {'a'}              axes of a mesh, or parts: 'a':(1)2,
        ... mesh[...], device_ids=([2,2]T(1,0)) {'a'}       and the devices may be turned
        source_target_pairs={{0,1},{1,0}}                   of a collective-permute

    Raises:
        ValueError: another way.
    """
    if match := re.search(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{} ]*\})?\}", line):
        if match[1] is None:
            return np.arange(devices)[None]
        groups = [group.split(",") for group in re.findall(r"\{([\d, ]+)\}", match[1])]
        return np.array(groups, int)
    if match := re.search(r"replica_groups=\[([\d,]+)\]<=" + _IOTA, line):
        return _iota(*match.groups()[1:]).reshape(_numbers(match[1]))
    if match := _MESH.search(line):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", match[1])}
        order = np.arange(devices) if match[2] is None else _iota(match[2], match[3])
        return order[_mesh_groups(sizes, match[4])]
    raise ValueError(f"it is not known which devices talk in {line.strip()!r}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _iota(dims: str, order: str | None) -> np.ndarray:
    """`[devices]` their numbers, laid out by `dims` and turned by `order`."""
    numbers = np.arange(math.prod(_numbers(dims))).reshape(_numbers(dims))
    return (numbers if order is None else numbers.transpose(_numbers(order))).reshape(-1)


def _mesh_groups(sizes: dict[str, int], axes: str) -> np.ndarray:
    """Groups along `'a', 'b':(before)size`, where a part of an axis may stand for it."""
    split: list[int] = []  # sizes of all parts of all axes
    chosen: list[int] = []  # places in `split` of those that are talked over
    parts = {name: (before, size) for name, before, size in _parts(axes)}
    for name, whole in sizes.items():
        before, size = parts.get(name, (1, 1))
        size = whole if size == "" else int(size)
        if name in parts:
            chosen.append(len(split) + 1)
        split += [int(before or 1), size, whole // (int(before or 1) * size)]
    places = np.moveaxis(np.arange(math.prod(split)).reshape(split), chosen, range(-len(chosen), 0))
    return places.reshape(-1, math.prod(split[place] for place in chosen))


def _parts(axes: str) -> list[tuple[str, str, str]]:
    return re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", axes)


def _axes(groups: np.ndarray, mesh: Mesh | AbstractMesh) -> tuple[str, ...]:
    """The axes along which the devices of a group differ."""
    places = np.unravel_index(groups, tuple(mesh.shape.values()))
    return tuple(
        name
        for name, place in zip(mesh.shape, places, strict=True)
        if (place != place[:, :1]).any()
    )

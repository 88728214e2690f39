"""What the devices of a compiled program tell each other: over which mesh axis, in which loop."""

import math
import re
from typing import NamedTuple

import numpy as np
from jax.sharding import AbstractMesh, Mesh

_COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|all-to-all|ragged-all-to-all|collective-permute|collective-broadcast"
    r"|reduce-scatter)(?:-start)?\("
)
_COMPUTATION = re.compile(r"(?:ENTRY )?%([\w.\-]+) \(.*\{")
_LOOP = re.compile(r" while\(.*?condition=%([\w.\-]+), body=%([\w.\-]+)")
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(" + _IOTA + r"\))? \{([^}]*)\}"
)
_SCOPE = re.compile(r'op_name="([^"]*)"')


class Collective(NamedTuple):
    """One collective operation of a program."""

    kind: str  # "all-reduce", "all-gather", ...
    axes: tuple[str, ...]  # of the mesh, over which it communicates; none: every device with itself
    loops: tuple[str, ...]  # the scopes of the while loops it runs in; none: outside of any
    scope: str  # of the operation that it belongs to, such as "jit(step)/update/..."


def collectives(text: str, mesh: Mesh | AbstractMesh) -> list[Collective]:
    """All collectives of a program.

    Args:
        text: `compiled.as_text()`.
        mesh: the mesh that it was compiled for.
    """
    computations = _computations(text)
    loops = _loops(computations)
    found = []
    for name, lines in computations.items():
        inside = tuple(sorted(scope for scope, reached in loops if name in reached))
        for line in lines:
            if match := _COLLECTIVE.search(line):
                axes = _axes(_members(line, math.prod(mesh.shape.values())), mesh)
                found.append(Collective(match[1], axes, inside, _scope(line)))
    return found


def num_loops(text: str) -> int:
    """How many while loops a program has."""
    return len(_LOOP.findall(text))


def _scope(line: str) -> str:
    match = _SCOPE.search(line)
    return match[1] if match else ""


def _computations(text: str) -> dict[str, list[str]]:
    """The lines of every computation by its name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        start = _COMPUTATION.match(line)
        if start:
            lines = found.setdefault(start.group(1), [])
        else:
            lines.append(line)
    return found


def _loops(computations: dict[str, list[str]]) -> list[tuple[str, set[str]]]:
    """For each while loop its scope, and the computations that run in it, at any depth."""
    mentioned = {
        name: {other for line in lines for other in re.findall(r"%([\w.\-]+)", line)}
        & computations.keys()
        for name, lines in computations.items()
    }
    loops = []
    for lines in computations.values():
        for line in lines:
            if match := _LOOP.search(line):
                reached, waiting = set(), list(match.groups())
                while waiting:
                    name = waiting.pop()
                    if name not in reached:
                        reached.add(name)
                        waiting += mentioned[name]
                loops.append((_scope(line), reached))
    return loops


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

"""The work and the memory of a program, read from its trace alone: where there is no compiler.

Nobody has split the program over devices yet. What runs in `shard_map` is one device's own share;
of all else every device is taken to do an equal share. FLOPs are those of products, as in
`products.py`. The memory of what lies between a program's inputs and outputs is what would be alive
at once if operations ran one by one, in the order of the trace: a compiler fuses some of them, and
pads others.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, Mesh

from rlsearch.loops import most_turns
from rlsearch.parallel.mesh import MODEL
from rlsearch.planning.products import window_pairs
from rlsearch.planning.work import EndedByData

_FUSED = ("broadcast_in_dim", "iota", "convert_element_type", "reshape", "squeeze", "copy")


class Traced(NamedTuple):
    """The memory and the work of one device."""

    flops: dict[str, float]  # by part
    bytes: dict[str, float]  # by part: what products, and reads and writes at places, move
    loops: EndedByData
    temporaries: float  # bytes
    busiest: str  # the part in which that many are needed


class _Mesh(NamedTuple):
    """Among how many devices an array is split, and how loops count."""

    outside: int  # all devices
    inside: int  # of `shard_map`, whose arrays are one share's: those over `model`
    once: bool

    def shares(self, eqn: Any, shares: int) -> int:
        """Among how many those within an operation are split."""
        return self.inside if eqn.primitive.name == "shard_map" else shares


def trace_work(
    jaxpr: Any, mesh: Mesh | AbstractMesh, part: Callable[[str], str], once: bool = False
) -> Traced:
    """Counts the work of a traced program on one device of a mesh.

    Args:
        jaxpr: `jax.jit(...).trace(...).jaxpr`.
        part: names the part that a scope belongs to.
        once: count the body of every loop once, as compilers do.
    """
    split = _Mesh(math.prod(mesh.shape.values()), mesh.shape[MODEL], once)
    work = _work(jaxpr.jaxpr, "", split.outside, split, part)
    moments = _moments(jaxpr.jaxpr, split.outside, split)
    most, eqn = max(moments, key=lambda moment: moment[0], default=(0.0, None))
    busiest = part(str(eqn.source_info.name_stack)) if eqn is not None else ""
    return work._replace(temporaries=most, busiest=busiest)


def _work(jaxpr: Any, scope: str, shares: int, mesh: _Mesh, part: Callable[[str], str]) -> Traced:
    flops: dict[str, float] = defaultdict(float)
    moved: dict[str, float] = defaultdict(float)
    loops = EndedByData()
    for eqn in jaxpr.eqns:
        inner = f"{scope}/{eqn.source_info.name_stack}"
        flops[part(inner)] += _product_flops(eqn) / shares
        moved[part(inner)] += _moved(eqn) / shares
        if eqn.primitive.name == "while":
            known = most_turns(inner) is not None
            loops += EndedByData(int(known), int(not known))
        within = [
            (_work(called, inner, mesh.shares(eqn, shares), mesh, part), often)
            for called, often in _called(eqn, mesh.once)
        ]
        if eqn.primitive.name == "cond":  # the branch that does the most
            within = [max(within, key=lambda work: sum(work[0].flops.values()))]
        for work, often in within:
            loops += work.loops
            for name, value in work.flops.items():
                flops[name] += often * value
            for name, value in work.bytes.items():
                moved[name] += often * value
    return Traced(flops, moved, loops, 0.0, "")


def _moments(jaxpr: Any, shares: int, mesh: _Mesh) -> Iterator[tuple[float, Any]]:
    """At each operation the bytes that are needed at once, beside what is read and given."""
    last_use: dict[Any, int] = {}
    for number, eqn in enumerate(jaxpr.eqns):
        last_use |= dict.fromkeys(_variables(eqn.invars), number)
    last_use |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    held: dict[Any, float] = {}
    now = 0.0
    for number, eqn in enumerate(jaxpr.eqns):
        inner = mesh.shares(eqn, shares)
        deepest = max(
            (size for called, _ in _called(eqn, True) for size, _ in _moments(called, inner, mesh)),
            default=0.0,
        )
        for var in eqn.outvars:
            held[var] = 0.0 if eqn.primitive.name in _FUSED else _held(var, eqn, shares)
            now += held[var]
        yield now + deepest, eqn
        for var in {*eqn.outvars, *_variables(eqn.invars)}:
            if last_use.get(var, -1) <= number:
                now -= held.pop(var, 0.0)


def _variables(atoms: Any) -> list[Any]:
    return [atom for atom in atoms if not hasattr(atom, "val")]  # a literal has one


def search_tree_bytes(jaxpr: Any) -> float:
    """Bytes of what the largest loop of a search carries, on one device; 0: nothing searches."""
    most = 0.0
    waiting = [(jaxpr.jaxpr, "")]
    while waiting:
        current, scope = waiting.pop()
        for eqn in current.eqns:
            inner = f"{scope}/{eqn.source_info.name_stack}"
            if eqn.primitive.name in ("scan", "while") and "/search" in inner:
                body = "jaxpr" if eqn.primitive.name == "scan" else "body_jaxpr"
                turn = eqn.params[body].jaxpr.outvars
                pairs = zip(eqn.outvars, turn, strict=True)  # what is stacked has one axis more
                carried = [var.aval for var, x in pairs if var.aval.shape == x.aval.shape]
                most = max(most, sum(_bytes(aval) for aval in carried))
            waiting += [(called, inner) for called, _ in _called(eqn, True)]
    return most


def _called(eqn: Any, once: bool) -> Iterator[tuple[Any, float]]:
    """The traces within an operation, and how often each runs."""
    params, name = eqn.params, eqn.primitive.name
    often = 1.0
    if name == "scan" and not once:
        often = float(params["length"])
    elif name == "while" and not once:
        often = float(most_turns(str(eqn.source_info.name_stack)) or 1)
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr", "body_jaxpr"):
        if key in params:
            yield getattr(params[key], "jaxpr", params[key]), often
    for branch in params.get("branches", ()):
        yield getattr(branch, "jaxpr", branch), 1.0


def _product_flops(eqn: Any) -> float:
    if eqn.primitive.name == "dot_general":
        (summed, _), _ = eqn.params["dimension_numbers"]
        left = eqn.invars[0].aval.shape
        return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[i] for i in summed)
    if eqn.primitive.name == "conv_general_dilated":
        return _convolution_flops(eqn)
    return 0.0


def _convolution_flops(eqn: Any) -> float:
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    left, right = (var.aval.shape for var in eqn.invars)
    count = 1.0
    for axis, (low, _) in enumerate(params["padding"]):
        count *= window_pairs(
            left[numbers.lhs_spec[2 + axis]],
            eqn.outvars[0].aval.shape[numbers.out_spec[2 + axis]],
            right[numbers.rhs_spec[2 + axis]],
            params["window_strides"][axis],
            low,
            params["lhs_dilation"][axis],
            params["rhs_dilation"][axis],
        )
    features = left[numbers.lhs_spec[1]] / params["feature_group_count"]
    batch = left[numbers.lhs_spec[0]] / params["batch_group_count"]
    return 2.0 * count * features * batch * right[numbers.rhs_spec[0]]


def _moved(eqn: Any) -> float:
    """Bytes read and written by what is not fused with its neighbours."""
    name, result = eqn.primitive.name, sum(_bytes(var.aval) for var in eqn.outvars)
    if name in ("dot_general", "conv_general_dilated"):
        return result + sum(_bytes(var.aval) for var in eqn.invars)
    if name in ("gather", "dynamic_slice"):
        return 2 * result
    if name == "dynamic_update_slice":
        return 2 * _bytes(eqn.invars[1].aval)
    if name.startswith("scatter"):
        return 2 * _bytes(eqn.invars[2].aval)
    return 0.0


def _held(var: Any, eqn: Any, shares: int) -> float:
    if eqn.primitive.name == "sharding_constraint":  # it says where the array is to lie
        sharding = eqn.params["sharding"]
        if isinstance(sharding, jax.sharding.NamedSharding):
            axes = jax.tree.leaves(tuple(sharding.spec))
            return _bytes(var.aval) / math.prod(sharding.mesh.shape[axis] for axis in axes)
    return _bytes(var.aval) / shares


def _bytes(aval: Any) -> float:
    return math.prod(getattr(aval, "shape", ())) * _item(aval)


def _item(aval: Any) -> int:
    return aval.dtype.itemsize if hasattr(aval, "dtype") else 0

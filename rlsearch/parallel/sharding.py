"""The places of parameters: from the names of their axes, by the rules of the config.

A parameter `("embed", "mlp")` is split along its first axis over `data` and along its second over
`model`, and is the same in every replica. The optimiser's moments lie where their parameters do.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from rlsearch.config import ShardingRules
from rlsearch.parallel.mesh import BATCH, data_sharding


def param_shardings(axes: Any, shapes: Any, mesh: Mesh | AbstractMesh, rules: ShardingRules) -> Any:
    """A sharding for each parameter.

    Args:
        axes: a tree with a tuple of names for each parameter, one an axis.
        shapes: the same tree with the parameters, or what has their shapes.

    Raises:
        ValueError: a name that `rules` does not have, or heads that cannot be split evenly.
    """
    return jax.tree.map(
        lambda names, x: NamedSharding(mesh, _spec(names, x.shape, mesh, rules)),
        axes,
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def _spec(
    names: tuple[str, ...],
    shape: tuple[int, ...],
    mesh: Mesh | AbstractMesh,
    rules: ShardingRules,
) -> PartitionSpec:
    split: list[str | None] = []
    for name, size in zip(names, shape, strict=True):
        if not hasattr(rules, name):
            valid = ", ".join(vars(rules))
            raise ValueError(f"a parameter has an axis {name!r}: parallel.rules has {valid}")
        axis = getattr(rules, name) or None
        if axis is not None and size % mesh.shape[axis]:
            if name == "heads":  # most of what attention does: whole, it would be done many times
                raise ValueError(
                    f"model.num_heads is {size}: it must be a multiple of parallel.{axis}, "
                    f"{mesh.shape[axis]}, or parallel.rules.heads must be ''"
                )
            axis = None
        split.append(None if axis in split else axis)
    return PartitionSpec(*split)


def gathered(shardings: Any) -> Any:
    """The same shardings whole over `replica` and `data`, still split over `model`.

    Parameters are brought there once in front of a search, whose loops then say nothing over the
    other axes.
    """

    def whole(sharding: NamedSharding) -> NamedSharding:
        spec = [None if axis in BATCH else axis for axis in sharding.spec]
        return NamedSharding(sharding.mesh, PartitionSpec(*spec))

    return jax.tree.map(whole, shardings)


def among(shardings: Any, chosen: Any) -> Any:
    """The shardings of the parameters of `chosen` among those of more; one of all stays one."""
    if not (isinstance(shardings, Mapping) and isinstance(chosen, Mapping)):
        return shardings
    return {key: among(shardings[key], part) for key, part in chosen.items()}


def placed(shapes: Any, shardings: Any) -> Any:
    """Abstract arrays `shapes` with `shardings`, a tree of the same structure or a prefix of it."""

    def place(sharding: Any, part: Any) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part
        )

    return jax.tree.map(place, shardings, shapes)


def placed_rows(mesh: Mesh, rows: Mapping[int, Any], number: int) -> Any:
    """Arrays `[number, ...]`, split along their first axis, of rows that are on the host.

    Args:
        rows: by their numbers, those that this process's own devices hold.
    """
    some = next(iter(rows.values()))

    def leaf(place: int, index: Any) -> np.ndarray:
        asked = range(number)[index[0]]
        return np.stack([jax.tree.leaves(rows[row])[place] for row in asked])

    sharding = data_sharding(mesh)
    made = [
        jax.make_array_from_callback(
            (number, *np.shape(x)), sharding, functools.partial(leaf, place)
        )
        for place, x in enumerate(jax.tree.leaves(some))
    ]
    return jax.tree.unflatten(jax.tree.structure(some), made)


def filled(lanes: Any, read: Callable[[range], Any]) -> Any:
    """Arrays as `lanes`, `[B, ...]` leaves that are split along their first axis alone.

    What is in them comes from the host: every process reads what its own devices hold.

    Args:
        read: the lanes of a range of 0 to B - 1, a pytree of the same structure.
    """
    arrays, structure = jax.tree.flatten(lanes)
    shares: dict[range, list[np.ndarray]] = {}  # devices that split a share over `model` have one

    def leaf(place: int, index: Any) -> np.ndarray:
        asked = range(len(arrays[place]))[index[0]]
        if asked not in shares:
            shares[asked] = [np.asarray(x) for x in structure.flatten_up_to(read(asked))]
        return shares[asked][place]

    made = [
        jax.make_array_from_callback(x.shape, x.sharding, functools.partial(leaf, place))
        for place, x in enumerate(arrays)
    ]
    return jax.tree.unflatten(structure, made)

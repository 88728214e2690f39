"""The names that a module's parameters give to their axes, for whoever places them on devices."""

from typing import Any

import jax
from flax import nnx


def logical_axes(state: Any) -> Any:
    """For each parameter of an NNX state a tuple of names, in the shape of the pure parameters."""
    return jax.tree.map(
        lambda leaf: leaf.get_metadata()["logical_axes"],
        nnx.to_pure_dict(state, extract_fn=lambda leaf: leaf),
        is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
    )

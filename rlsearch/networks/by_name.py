"""Parts of a tree of parameters, chosen by names: those that a stage learns, and others.

A part has None where a parameter is not of it, so that gradients, an optimiser's moments and its
updates are of the part alone.
"""

from typing import Any

import jax

from rlsearch.text import shortened


def of_names(tree: Any, names: tuple[str, ...]) -> Any:
    """The part of those parameters that have one of `names` in their paths; of no names, all.

    Raises:
        ValueError: no parameter has one of the names.
    """
    if not names:
        return tree
    known = set()

    def chosen(path: Any, leaf: Any) -> Any:
        parts = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        known.update(part for part in parts if not part.isdecimal())
        return leaf if set(parts) & set(names) else None

    found = jax.tree_util.tree_map_with_path(chosen, tree)
    if known and not known >= set(names):
        raise ValueError(
            f"the names of parameters are {shortened(list(names))}: they must be among "
            f"{', '.join(sorted(known))}"
        )
    return found


def joined(part: Any, whole: Any) -> Any:
    """`whole`, with the parameters of `part` in the place of its own."""
    return jax.tree.map(
        lambda new, old: old if new is None else new, part, whole, is_leaf=lambda x: x is None
    )

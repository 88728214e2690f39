"""Parameters in the dtype that a network computes with, for who reads them often."""

from typing import Any

import jax


def in_dtype(params: Any, dtype: jax.typing.DTypeLike, kept: tuple[str, ...]) -> Any:
    """Casts parameters, but for those with one of the names `kept` in their path.

    A network casts them where it reads them anyway: the results are the same, and a loop that reads
    all of them for every token reads half the bytes in bfloat16.
    """

    def cast(path: Any, leaf: jax.Array) -> jax.Array:
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        return leaf if set(names) & set(kept) else leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)

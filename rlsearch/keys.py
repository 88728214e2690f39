"""Random keys of problems, games and rows: each has its own, whatever the batch it is in."""

import jax


def folded(keys: jax.Array, number: jax.Array | int) -> jax.Array:
    """`[B]` typed keys, of each of `keys [B]` the `number`-th that is made of it."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)

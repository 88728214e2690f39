"""The distance between two solutions."""

import jax
import jax.numpy as jnp


def edit_distance(one: jax.Array, other: jax.Array, pad: int) -> jax.Array:
    """`[]` int32, the fewest tokens to put in, take out or change that make one of the other.

    The Levenshtein distance, a row of its table at a time: within a row a token that is put in
    costs one more than the place before it, which is a running minimum.

    Args:
        one, other: `[T]` int32, padded behind their last tokens.
    """
    places = jnp.arange(other.shape[0] + 1)

    def row(above: jax.Array, token: jax.Array) -> tuple[jax.Array, None]:
        taken_out, changed = above + 1, above[:-1] + (other != token)
        best = jnp.minimum(taken_out, jnp.append(taken_out[0], changed))
        best = jax.lax.cummin(best - places) + places
        return jnp.where(token == pad, above, best), None

    last, _ = jax.lax.scan(row, places, one)
    return last[(other != pad).sum()]

"""One score of a solution from those of its steps."""

import jax
import jax.numpy as jnp

AGGREGATIONS = ("last", "min", "prod", "mean")
TINY = 1e-30  # a step worth nothing; its logarithm must be finite


def aggregate(scores: jax.Array, num_steps: jax.Array, how: str) -> jax.Array:
    """`[...]` float32 from the scores `[..., S]` of the first `num_steps [...]` steps.

    "prod" (Lightman et al. 2023) is taken in logarithms, "min" is Math-Shepherd's (Wang et al.
    2023), "last" is for scores that already say how the whole will end (Snell et al. 2024). A
    solution without a step has score 1, as an empty product has.

    Raises:
        ValueError: if `how` is none of `AGGREGATIONS`.
    """
    written = jnp.arange(scores.shape[-1]) < num_steps[..., None]
    if how == "last":
        last = jnp.maximum(num_steps - 1, 0)[..., None]
        result = jnp.take_along_axis(scores, last, axis=-1)[..., 0]
    elif how == "min":
        result = jnp.where(written, scores, 1.0).min(axis=-1)
    elif how == "prod":
        logs = jnp.log(jnp.maximum(scores, TINY))
        result = jnp.exp(jnp.where(written, logs, 0.0).sum(axis=-1))
    elif how == "mean":
        total = jnp.where(written, scores, 0.0).sum(axis=-1)
        result = total / jnp.maximum(num_steps, 1)
    else:
        raise ValueError(f"aggregation is {how!r}: it must be {', '.join(AGGREGATIONS)}")
    return jnp.where(num_steps > 0, result, 1.0)

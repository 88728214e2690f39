"""Rows of one source in the shape of another's, so that one minibatch can hold both."""

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import SolutionFormat
from rlsearch.objectives.step_targets import StepTargets


def widen(rows: StepTargets, like: StepTargets, format: SolutionFormat) -> StepTargets:
    """Traces (M = 1, every token with its `counted`) in the shape of the rows `like`.

    Empty candidates are put beside those of the trace. Where the decisions of `like` are tokens,
    every token becomes a step of its own.
    """
    candidates, by_token = like.steps.shape[2], like.steps.shape[3] == 1
    if by_token:
        rows = one_token_a_step(rows, format)

    def fill(values: jax.Array, empty: float) -> jax.Array:
        """`[B, S, 1, ...]` to `[B, S, M, ...]`."""
        missing = jnp.full((*values.shape[:2], candidates - 1, *values.shape[3:]), empty)
        return jnp.concatenate([values, missing.astype(values.dtype)], axis=2)

    assert rows.counted is not None
    return rows._replace(
        steps=fill(rows.steps, format.pad),
        weights=fill(rows.weights, 0.0),
        values=fill(rows.values, 0.0),
        value_weights=fill(rows.value_weights, 0.0),
        counted=fill(rows.counted, 1.0),
    )


def one_token_a_step(rows: StepTargets, format: SolutionFormat) -> StepTargets:
    """Cuts every step of a trace into its tokens; the value keeps its targets at their ends."""
    batch, _, _, length = rows.steps.shape
    assert rows.counted is not None
    tokens = rows.steps[:, :, 0].reshape(batch, -1)
    # Padding stands behind each step; behind the last token it is nobody's concern.
    order = jnp.argsort(tokens == format.pad, axis=1, stable=True)[:, : format.max_length]

    def pick(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, order, axis=1)[:, :, None]

    def spread(values: jax.Array) -> jax.Array:
        return jnp.repeat(values[:, :, 0], length, axis=1)

    ends = format.ends_step(tokens)
    return rows._replace(
        steps=pick(tokens)[..., None],
        weights=pick(spread(rows.weights)),
        values=pick(spread(rows.values)),
        value_weights=pick(spread(rows.value_weights) * ends),
        counted=pick(rows.counted[:, :, 0].reshape(batch, -1))[..., None],
    )

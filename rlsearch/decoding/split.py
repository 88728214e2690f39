"""Cutting whole solutions into their steps.

Letters: B batch, S steps of a solution, L tokens of the longest step, T tokens of a solution.
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import SolutionFormat


def end_steps(tokens: jax.Array, format: SolutionFormat) -> jax.Array:
    """`[B, T]` bool, the tokens of solutions `[B, T]` with which a step ends, or is cut."""
    places = jnp.arange(tokens.shape[1])
    ends = format.ends_step(tokens)
    began = jnp.where(jnp.roll(ends, 1, axis=1).at[:, 0].set(True), places, 0)
    within = places - jax.lax.cummax(began, axis=1)
    longest = (within + 1) % format.max_step_length == 0
    return (ends | longest) & (tokens != format.pad)


def count_steps(tokens: jax.Array, format: SolutionFormat) -> jax.Array:
    """`[...]` int32, the steps of solutions `[..., T]` that have ended, or were cut."""
    ends = end_steps(tokens.reshape(-1, tokens.shape[-1]), format)
    return ends.sum(axis=1, dtype=jnp.int32).reshape(tokens.shape[:-1])


def split_steps(tokens: jax.Array, format: SolutionFormat) -> jax.Array:
    """Cuts solutions `[B, T]` behind each end of a step: `[B, S, L]`, padded.

    Steps beyond `num_steps` are dropped.
    """
    ends = end_steps(tokens, format)
    step = jnp.cumsum(ends, axis=1) - ends  # [B, T], which step a token is in
    first = jax.vmap(jnp.searchsorted, (0, None))(step, jnp.arange(format.num_steps))
    place = first[:, :, None] + jnp.arange(format.max_step_length)
    inside = place < tokens.shape[1]
    place = jnp.minimum(place, tokens.shape[1] - 1)
    rows = jnp.arange(tokens.shape[0])[:, None, None]
    same = step[rows, place] == jnp.arange(format.num_steps)[:, None]
    return jnp.where(inside & same, tokens[rows, place], format.pad)


def step_ends(tokens: jax.Array, format: SolutionFormat) -> tuple[jax.Array, jax.Array]:
    """The places `[B, S]` int32 where the steps of solutions `[B, T]` end, and `[B, S]` bool, the
    steps that do."""
    ended = jnp.cumsum(end_steps(tokens, format), axis=1)
    steps = jnp.arange(format.num_steps)
    place = jax.vmap(jnp.searchsorted, (0, None))(ended, steps + 1)
    return jnp.minimum(place, tokens.shape[1] - 1), steps < ended[:, -1:]

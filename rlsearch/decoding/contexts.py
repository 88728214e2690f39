"""A problem with earlier attempts at it: what a policy that revises its answers reads.

    padding | attempt | ... | the newest attempt | prompt

It holds at most `ATTEMPTS` of them (Snell et al. 2024) and is padded on the left, where nothing
looks. As rotary positions are relative, a context without attempts is the prompt alone. In the
paper the prompt comes first. Here it comes last, so that a solution follows its problem at once,
where a policy that has seen nothing but problems and solutions knows to look.

Letters: B problems, P tokens of a prompt, T of an attempt, A attempts, C = P + A T of a context.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.tasks.base import NO_TOKEN

ATTEMPTS = 4  # A


class Context(NamedTuple):
    """Attempts and their problems, one behind the other."""

    tokens: jax.Array  # [B, C] int32
    real: jax.Array  # [B, C] bool, False where there is padding


def no_attempts(batch: int, length: int, pad: int) -> jax.Array:
    """`[B, A, T]` int32, nothing but padding."""
    return jnp.full((batch, ATTEMPTS, length), pad, jnp.int32)


def remember(attempts: jax.Array, newest: jax.Array, kept: jax.Array) -> jax.Array:
    """`attempts [B, A, T]` with `newest [B, T]` behind them; the oldest is forgotten.

    Args:
        kept: `[B]` bool, False where the newest is not to be remembered.
    """
    later = jnp.concatenate([attempts[:, 1:], newest[:, None]], axis=1)
    return jnp.where(kept[:, None, None], later, attempts)


def with_attempts(prompts: jax.Array, attempts: jax.Array, pad: int) -> Context:
    """The contexts of `prompts [B, P]` and `attempts [B, A, T]`, from the oldest to the newest.

    Places without an attempt, and those behind the end of one, hold padding.
    """
    written = attempts.reshape(len(prompts), -1)
    tokens = jnp.concatenate([written, prompts], axis=1)
    real = jnp.concatenate([written != pad, prompts != NO_TOKEN], axis=1)
    order = jnp.argsort(real, axis=1, stable=True)  # padding first, all else as it stands
    moved = jnp.take_along_axis(real, order, axis=1)
    tokens = jnp.where(moved, jnp.take_along_axis(tokens, order, axis=1), pad)
    return Context(tokens, moved)

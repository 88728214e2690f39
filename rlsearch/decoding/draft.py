"""Half-written text: a prompt, which many solutions share, and a line written behind it.

Letters: B batch, P tokens of a prompt, T of a solution, L of the longest step, K siblings,
D features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import SolutionFormat
from rlsearch.networks.attention import KeyValues


class Prompt(NamedTuple):
    """Problems as a writer's network has read them."""

    tokens: jax.Array  # [B, P] int32, the problem itself
    cache: KeyValues  # of all that stands in front of a solution: the problem, earlier attempts

    @property
    def length(self) -> int:
        """The number of tokens in front of a solution, padding included."""
        return self.cache.length


class Line(NamedTuple):
    """The written part of solutions. Places not written yet hold padding."""

    tokens: jax.Array  # [B, T] int32
    num_steps: jax.Array  # [B] int32, steps written
    length: jax.Array  # [B] int32, tokens written
    hidden: jax.Array  # [B, D] at the last token read
    cache: KeyValues  # of the first T - 1 tokens

    def finished(self, format: SolutionFormat) -> jax.Array:
        """`[...]` bool, the solutions that are complete, or cut. Their own tokens alone decide."""
        return format.is_complete(self.tokens, self.length, self.num_steps)


class Draft(NamedTuple):
    """Half-written solutions of problems. A tree keeps the line of each node, the prompt once."""

    prompt: Prompt
    line: Line

    def seen(self) -> jax.Array:
        """`[B, prompt.length + T - 1]` bool, the cached tokens that stand before the next one."""
        batch, places = self.line.tokens.shape
        written = jnp.arange(places - 1) < self.line.length[:, None]
        prompt = jnp.ones((batch, self.prompt.length), bool)
        return jnp.concatenate([prompt, written], axis=1)


class Step(NamedTuple):
    """One drawn step."""

    tokens: jax.Array  # [B, L] int32
    draw_log_probs: jax.Array  # [B, L] under the distribution it was drawn from; 0 at padding
    prior_log_prob: jax.Array  # [B] under the policy at temperature 1
    duplicate: jax.Array  # [B] bool, a sibling is the same step
    length: jax.Array  # [B] int32, tokens


class Siblings(NamedTuple):
    """Steps that were drawn from the same draft before."""

    tokens: jax.Array  # [B, K, L] int32
    draw_log_probs: jax.Array  # [B, K, L]
    present: jax.Array  # [B, K] bool


def empty_like(cache: KeyValues, length: int) -> KeyValues:
    """Zeros for `length` tokens, for the layers and heads of `cache`."""
    return jax.tree.map(
        lambda x: jnp.zeros((*x.shape[:2], length, x.shape[3]), x.dtype), cache._replace(real=None)
    )


def write_tokens(old: jax.Array, new: jax.Array, at: jax.Array, length: jax.Array) -> jax.Array:
    """Writes the first `length [B]` of `new [B, L]` into `old [B, T]` from place `at [B]` on."""
    offset = jnp.arange(old.shape[1]) - at[:, None]
    inside = (offset >= 0) & (offset < length[:, None])
    moved = jnp.take_along_axis(new, jnp.clip(offset, 0, new.shape[1] - 1), axis=1)
    return jnp.where(inside, moved, old)


def write_cache(old: KeyValues, new: KeyValues, at: jax.Array, length: jax.Array) -> KeyValues:
    """Does what `write_tokens` does, for layers `old [B, G, T, C]` and `new [B, G, L, C]`.

    A product with a zero-one matrix instead of a gather: exact, and several times faster on CPU.
    """

    def write(old: jax.Array, new: jax.Array) -> jax.Array:
        offset = jnp.arange(old.shape[2]) - at[:, None]
        inside = (offset >= 0) & (offset < length[:, None])
        place = (offset[:, :, None] == jnp.arange(new.shape[2])) & inside[:, :, None]
        moved = jnp.einsum(
            "btl,bglc->bgtc", place.astype(new.dtype), new, precision=jax.lax.Precision.HIGHEST
        )
        return jnp.where(inside[:, None, :, None], moved, old)

    return jax.tree.map(write, old, new)

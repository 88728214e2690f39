"""Attention to segments of earlier keys and values: rotary positions, grouped queries, windows.

It owns no cache. It reads earlier keys and values as a tuple of segments and returns those of the
new tokens, so that the caller decides where they live: a prompt's in memory that all nodes of a
search tree share, a step's in the node itself, a decoded token's in a ring.

Letters: B batch, T new tokens, S cached tokens of a segment, D features, H query heads, G key-value
heads, C features of a head.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rlsearch.config import RopeScaling, TransformerConfig
from rlsearch.networks.adapter import adapt, adapted
from rlsearch.networks.layers import RMSNorm, capped, over_heads, param, product, projected


class KeyValues(NamedTuple):
    """Keys (already rotated) and values of some tokens: for each layer `[B, G, S, C]`.

    Tokens lie next to each other within a head: attention is then one plain matrix product a head,
    8 times faster on CPU than with the head axis inside. Layers are separate arrays, because a
    slice of a stacked one is copied before it is read.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    real: jax.Array | None = None  # [B, S] bool, tokens that are no padding; None: all

    @property
    def length(self) -> int:
        """S, the number of tokens."""
        return self.keys[0].shape[2]

    def part(self, start: int, end: int) -> "KeyValues":
        """Those of the tokens from `start` to before `end`."""
        real = None if self.real is None else self.real[:, start:end]
        keys, values = (tuple(x[:, :, start:end] for x in y) for y in (self.keys, self.values))
        return KeyValues(keys, values, real)


class View(NamedTuple):
    """The tokens that new ones see, and the angles by which those are turned."""

    mask: jax.Array  # [B, T, S_1 + ... + T] bool
    cosine: jax.Array  # [B, 1, T, C / 2]
    sine: jax.Array


class Ring(NamedTuple):
    """A segment of keys and values that new tokens are written into, at a place that goes round.

    All rows write at the same place, wherever their own texts are: so a token costs one update of a
    slice, and nothing is moved. What a row sees is the mask's affair, as rotary waves have been
    turned before keys lie here.
    """

    cache: KeyValues
    place: jax.Array  # [] int32, where the first new token goes; they must not go round the end


def causal_mask(length: int) -> jax.Array:
    """`[1, T, T]` bool: each token attends to itself and to those before it."""
    return jnp.tril(jnp.ones((length, length), bool))[None]


def without_padding(mask: jax.Array, past: Sequence[KeyValues]) -> jax.Array:
    """`mask [B, T, S_1 + ... + T]` where nothing attends to what is padding in `past`."""
    start = 0
    for segment in past:
        end = start + segment.length
        if segment.real is not None:
            hidden = mask[:, :, start:end] & segment.real[:, None]
            mask = jnp.concatenate([mask[:, :, :start], hidden, mask[:, :, end:]], axis=2)
        start = end
    return mask


def within_window(mask: jax.Array, window: int) -> jax.Array:
    """`mask [B, T, S]` where each new token sees the last `window` of what it saw, itself among
    them: columns stand in the order of the text, whatever padding is between them."""
    behind = jnp.cumsum(mask[..., ::-1], axis=-1, dtype=jnp.int32)[..., ::-1]
    return mask & (behind <= window)


def frequencies(half: int, theta: float, scaling: RopeScaling) -> jax.Array:
    """`[half]` radians a token of the rotary waves."""
    waves = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    if scaling.factor == 1:
        return waves
    slowed = waves / scaling.factor
    if not scaling.high_frequency:
        return slowed
    turns = scaling.original_length * waves / (2 * jnp.pi)  # in the original context
    kept = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
    kept = jnp.clip(kept, 0.0, 1.0)
    return kept * waves + (1 - kept) * slowed


def rotate(x: jax.Array, view: View) -> jax.Array:
    """Rotary position embedding of `x [B, heads, T, C]`."""
    half = x.shape[-1] // 2
    cosine, sine = view.cosine.astype(x.dtype), view.sine.astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate(
        [first * cosine - second * sine, second * cosine + first * sine], axis=-1
    )


class Attention(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        c, scale = config, config.embed_dim**-0.5
        heads, kv_heads = ("embed", "heads", "head_dim"), ("embed", "kv_heads", "head_dim")
        self.query = param(rngs, (c.embed_dim, c.num_heads, c.head_dim), heads, scale)
        self.key = param(rngs, (c.embed_dim, c.num_kv_heads, c.head_dim), kv_heads, scale)
        self.value = param(rngs, (c.embed_dim, c.num_kv_heads, c.head_dim), kv_heads, scale)
        out_scale = (c.num_heads * c.head_dim) ** -0.5 / (2 * c.num_layers) ** 0.5
        self.out = param(
            rngs, (c.num_heads, c.head_dim, c.embed_dim), ("heads", "head_dim", "embed"), out_scale
        )
        if c.qkv_bias:
            self.query_bias = param(rngs, (c.num_heads, c.head_dim), heads[1:], 0.0)
            self.key_bias = param(rngs, (c.num_kv_heads, c.head_dim), kv_heads[1:], 0.0)
            self.value_bias = param(rngs, (c.num_kv_heads, c.head_dim), kv_heads[1:], 0.0)
        if c.qk_norm:
            self.query_norm = RMSNorm(c.head_dim, c.norm_epsilon)
            self.key_norm = RMSNorm(c.head_dim, c.norm_epsilon)
        self.config = config
        adapt(self, c.adapter, rngs)

    def __call__(
        self,
        x: jax.Array,
        past: Sequence[tuple[jax.Array, jax.Array]],
        view: View,
        place: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        c = self.config
        query, key, value = (adapted(self, w, x, projected) for w in ("query", "key", "value"))
        if c.qkv_bias:
            query = query + self.query_bias[...].astype(x.dtype)[:, None]
            key = key + self.key_bias[...].astype(x.dtype)[:, None]
            value = value + self.value_bias[...].astype(x.dtype)[:, None]
        if c.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = rotate(query, view), rotate(key, view)
        batch, length = x.shape[:2]
        group = c.num_heads // c.num_kv_heads
        scale = c.query_scale or c.head_dim**-0.5
        query = query.reshape(batch, c.num_kv_heads, group * length, c.head_dim) * scale
        # Scores are joined, keys and values are not: a prompt's cache is read where it lies.
        if place is None:
            segments = [*past, (key, value)]
        else:
            keys, values = past[0]
            segments = [(written(keys, key, place), written(values, value, place))]
        scores = [scores_of(query, keys) for keys, _ in segments]
        scores = capped(jnp.concatenate(scores, axis=-1), c.attention_cap)
        mask = jnp.tile(view.mask, (1, group, 1))[:, None]
        weights = jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1).astype(x.dtype)
        parts, start = [], 0
        for _, values in segments:
            part = weights[..., start : start + values.shape[2]]
            parts.append(product("bgqs,bgsc->bgqc", part, values))
            start += values.shape[2]
        mixed = functools.reduce(jnp.add, parts).astype(x.dtype)
        mixed = mixed.reshape(batch, c.num_heads, length, c.head_dim).swapaxes(1, 2)
        return adapted(self, "out", mixed, summed_up), segments[-1]


def summed_up(x: jax.Array, weights: jax.Array) -> jax.Array:
    """`over_heads` in the dtype of `x`."""
    return over_heads(x, weights.astype(x.dtype)).astype(x.dtype)


def scores_of(query: jax.Array, keys: jax.Array) -> jax.Array:
    """`query [B, G, Q, C]` times `keys [B, G, S, C]`: `[B, G, Q, S]` in float32.

    The product has the longer side on the left: for a few queries that is twice as fast on CPU.
    """
    if query.shape[2] < keys.shape[2]:
        return product("bgsc,bgqc->bgsq", keys, query).swapaxes(2, 3)
    return product("bgqc,bgsc->bgqs", query, keys)


def written(old: jax.Array, new: jax.Array, place: jax.Array) -> jax.Array:
    """`old [B, G, S, C]` with `new [B, G, T, C]` from `place` on, in whose memory where it can."""
    return jax.lax.dynamic_update_slice_in_dim(old, new, place, axis=2)

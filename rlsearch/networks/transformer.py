"""A decoder-only transformer with the conventions of the Llama and Qwen families.

RMSNorm before each block, rotary positions in the half-rotation form, grouped-query attention,
SwiGLU, no biases (Qwen 2 adds them to the query, key and value; Qwen 3 normalises query and key).

The module owns no cache. It reads earlier keys and values as a tuple of segments and returns the
new tokens' own, so that the caller decides where they live: a prompt's in memory that all nodes
of a search tree share, a step's in the node itself, a decoded token's in a ring.

Letters: B batch, T new tokens, S cached tokens of a segment, L layers, D features, H query heads,
G key-value heads, C features of a head, F hidden features, V vocabulary.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rlsearch.config import TransformerConfig
from rlsearch.networks.remat import rematerialised
from rlsearch.parallel.mesh import rows_alone


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


def _param(rngs: nnx.Rngs, shape, axes, scale: float) -> nnx.Param:
    """A float32 weight that names its axes, for whoever decides how to shard it."""
    value = scale * jax.random.truncated_normal(rngs.params(), -2.0, 2.0, shape, jnp.float32)
    return nnx.Param(value, logical_axes=axes)


class RMSNorm(nnx.Module):
    def __init__(self, features: int, epsilon: float):
        self.scale = nnx.Param(jnp.ones((features,), jnp.float32), logical_axes=("norm",))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.epsilon)
        return (normed * self.scale[...]).astype(x.dtype)


def rotate(x: jax.Array, positions: jax.Array, theta: float) -> jax.Array:
    """Rotary position embedding of `x [B, heads, T, C]` at `positions [B, T]`."""
    half = x.shape[-1] // 2
    frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = positions[:, None, :, None].astype(jnp.float32) * frequencies
    cosine, sine = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate(
        [first * cosine - second * sine, second * cosine + first * sine], axis=-1
    )


class Attention(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        c, scale = config, config.embed_dim**-0.5
        heads, kv_heads = ("embed", "heads", "head_dim"), ("embed", "kv_heads", "head_dim")
        self.query = _param(rngs, (c.embed_dim, c.num_heads, c.head_dim), heads, scale)
        self.key = _param(rngs, (c.embed_dim, c.num_kv_heads, c.head_dim), kv_heads, scale)
        self.value = _param(rngs, (c.embed_dim, c.num_kv_heads, c.head_dim), kv_heads, scale)
        out_scale = (c.num_heads * c.head_dim) ** -0.5 / (2 * c.num_layers) ** 0.5
        self.out = _param(
            rngs, (c.num_heads, c.head_dim, c.embed_dim), ("heads", "head_dim", "embed"), out_scale
        )
        if c.qkv_bias:
            self.query_bias = _param(rngs, (c.num_heads, c.head_dim), heads[1:], 0.0)
            self.key_bias = _param(rngs, (c.num_kv_heads, c.head_dim), kv_heads[1:], 0.0)
            self.value_bias = _param(rngs, (c.num_kv_heads, c.head_dim), kv_heads[1:], 0.0)
        if c.qk_norm:
            self.query_norm = RMSNorm(c.head_dim, c.norm_epsilon)
            self.key_norm = RMSNorm(c.head_dim, c.norm_epsilon)
        self.config = config

    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        past: Sequence[tuple[jax.Array, jax.Array]],
        mask: jax.Array,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        c = self.config
        query = jnp.einsum("btd,dhc->bhtc", x, self.query[...].astype(x.dtype))
        key = jnp.einsum("btd,dgc->bgtc", x, self.key[...].astype(x.dtype))
        value = jnp.einsum("btd,dgc->bgtc", x, self.value[...].astype(x.dtype))
        if c.qkv_bias:
            query = query + self.query_bias[...].astype(x.dtype)[:, None]
            key = key + self.key_bias[...].astype(x.dtype)[:, None]
            value = value + self.value_bias[...].astype(x.dtype)[:, None]
        if c.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        query = rotate(query, positions, c.rope_theta)
        key = rotate(key, positions, c.rope_theta)
        batch, length = x.shape[:2]
        group = c.num_heads // c.num_kv_heads
        query = query.reshape(batch, c.num_kv_heads, group * length, c.head_dim) * c.head_dim**-0.5
        # Scores are joined, keys and values are not: a prompt's cache is read where it lies.
        segments = [*past, (key, value)]
        scores = [jnp.einsum("bgqc,bgsc->bgqs", query, keys) for keys, _ in segments]
        scores = jnp.concatenate(scores, axis=-1).astype(jnp.float32)
        mask = jnp.tile(mask, (1, group, 1))[:, None]
        weights = jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1).astype(x.dtype)
        parts, start = [], 0
        for _, values in segments:
            part = weights[..., start : start + values.shape[2]]
            parts.append(jnp.einsum("bgqs,bgsc->bgqc", part, values))
            start += values.shape[2]
        mixed = functools.reduce(jnp.add, parts).reshape(batch, c.num_heads, length, c.head_dim)
        return jnp.einsum("bhtc,hcd->btd", mixed, self.out[...].astype(x.dtype)), (key, value)


class SwiGLU(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        c, scale = config, config.embed_dim**-0.5
        self.gate = _param(rngs, (c.embed_dim, c.mlp_dim), ("embed", "mlp"), scale)
        self.up = _param(rngs, (c.embed_dim, c.mlp_dim), ("embed", "mlp"), scale)
        out_scale = c.mlp_dim**-0.5 / (2 * c.num_layers) ** 0.5
        self.down = _param(rngs, (c.mlp_dim, c.embed_dim), ("mlp", "embed"), out_scale)

    def __call__(self, x: jax.Array) -> jax.Array:
        # One flat matrix product: on CPU the batched form is a fifth slower.
        flat = x.reshape(-1, x.shape[-1])
        gate = jax.nn.silu(flat @ self.gate[...].astype(x.dtype))
        hidden = gate * (flat @ self.up[...].astype(x.dtype))
        return (hidden @ self.down[...].astype(x.dtype)).reshape(x.shape)


class Block(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        self.mlp = SwiGLU(config, rngs)

    def __call__(self, x, positions, past, mask):
        with jax.named_scope("attention"):
            mixed, new = self.attention(self.attention_norm(x), positions, past, mask)
        x = x + mixed
        with jax.named_scope("mlp"):
            return x + self.mlp(self.mlp_norm(x)), new


def stacked(blocks: list[Block]) -> Block:
    """One block whose every parameter has those of all `blocks` along a first axis, "layers"."""
    graphs, states = zip(*map(nnx.split, blocks), strict=True)
    state = jax.tree.map(lambda *x: jnp.stack(x), *states)
    for leaf in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, nnx.Variable)):
        leaf.set_metadata(logical_axes=("layers", *leaf.get_metadata()["logical_axes"]))
    return nnx.merge(graphs[0], state)


class ValueHead(nnx.Module):
    """The logit that what is written so far will end in a right solution."""

    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        scale = config.embed_dim**-0.5
        self.hidden = _param(rngs, (config.embed_dim, config.value_dim), ("embed", "mlp"), scale)
        self.out = _param(rngs, (config.value_dim,), ("mlp",), 0.0)
        self.bias = _param(rngs, (), (), 0.0)

    def __call__(self, hidden: jax.Array) -> jax.Array:
        features = jax.nn.silu(hidden.astype(jnp.float32) @ self.hidden[...])
        return features @ self.out[...] + self.bias[...]


class Transformer(nnx.Module):
    """Trunk, policy head and value head.

    Parameters lie under `blocks/0/attention/query [D, H, C]` and so on; with `scan_layers` all of
    them under `blocks/attention/query [L, D, H, C]`, with the same values from the same seed. New
    tokens are then read by one loop over the layers. Where there are cached tokens, whose keys and
    values are separate arrays, the layers are written out instead, each reading its own slice.
    """

    def __init__(self, config: TransformerConfig, vocab_size: int, rngs: nnx.Rngs):
        shape, axes = (vocab_size, config.embed_dim), ("vocab", "embed")
        self.embedding = _param(rngs, shape, axes, config.embed_dim**-0.5)
        blocks = [Block(config, rngs) for _ in range(config.num_layers)]
        self.blocks: Any = stacked(blocks) if config.scan_layers else nnx.List(blocks)
        self.norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        if not config.tie_embeddings:
            self.unembedding = _param(rngs, shape, axes, config.embed_dim**-0.5)
        self.value_head = ValueHead(config, rngs)
        self.config = config

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        past: Sequence[KeyValues] = (),
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> tuple[jax.Array, KeyValues]:
        """Reads new tokens after `past`.

        Args:
            tokens: `[B, T]` int32.
            positions: `[B, T]` int32, from 0.
            mask: `[B, T, S_1 + ... + T]` bool, what each new token attends to: the segments of
                `past` in their order, then the new tokens. Padding in a segment is left out.
            past: segments of earlier keys and values.
            dtype: dtype of the computation; parameters keep their own.

        Returns:
            Hidden states `[B, T, D]`, normalised, for `policy_logits` and `value_logit`; and the
            new tokens' keys and values.
        """
        mask = without_padding(mask, past)
        scale = self.config.embed_dim**0.5 if self.config.tie_embeddings else 1.0
        x = rows_alone(self.embedding[...][tokens].astype(dtype) * scale)
        if self.config.scan_layers and not past:
            graph, layers = nnx.split(self.blocks)
            x, (keys, values) = jax.lax.scan(self._reader(graph, positions, mask), x, layers)
            return self.norm(x), KeyValues(tuple(keys), tuple(values))
        keys, values = [], []
        for number, (graph, layer) in enumerate(self._layers()):
            layer_past = [(segment.keys[number], segment.values[number]) for segment in past]
            x, (key, value) = self._reader(graph, positions, mask, layer_past)(x, layer)
            keys.append(key)
            values.append(value)
        return self.norm(x), KeyValues(tuple(keys), tuple(values))

    def _reader(self, graph: Any, positions, mask, past=()) -> Callable:
        """One block as a function of what it reads and of its parameters."""

        def read(x: jax.Array, layer: Any):
            x, new = nnx.merge(graph, layer)(x, positions, past, mask)
            return rows_alone(x), new

        return rematerialised(read, self.config.remat)

    def _layers(self) -> list[tuple[Any, Any]]:
        """Every block split, whether they are stacked or not."""
        if not self.config.scan_layers:
            return [nnx.split(block) for block in self.blocks]
        graph, layers = nnx.split(self.blocks)
        return [
            (graph, jax.tree.map(lambda x, i=i: x[i], layers))
            for i in range(self.config.num_layers)
        ]

    def policy_logits(self, hidden: jax.Array) -> jax.Array:
        """Next-token logits `[..., V]` in float32."""
        config = self.config
        output = self.embedding if config.tie_embeddings else self.unembedding
        return (rows_alone(hidden) @ output[...].astype(hidden.dtype).T).astype(jnp.float32)

    def value_logit(self, hidden: jax.Array) -> jax.Array:
        """Logit `[...]` in float32 of the probability that the solution comes out right."""
        with jax.named_scope("value_head"):
            return self.value_head(rows_alone(hidden))


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

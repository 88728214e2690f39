"""A decoder-only transformer, of which the families of open models are settings.

RMSNorm before each block, rotary positions in the half-rotation form, grouped-query attention, a
gated MLP, no biases: Llama. Qwen 2 has biases on query, key and value; Qwen 3 normalises query and
key; Gemma scales embeddings, normalises what a block adds too, caps scores, and has layers that see
a window alone, as Mistral's do (`rlsearch.pretrained.families`).

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
import numpy as np
from flax import nnx

from rlsearch.config import RopeScaling, TransformerConfig
from rlsearch.networks.remat import rematerialised
from rlsearch.parallel.mesh import rows_alone

FLOAT32 = ("scale", "value_head")  # computed in float32 whatever the dtype: norms, and that head
ACTIVATIONS = {"silu": jax.nn.silu, "gelu": functools.partial(jax.nn.gelu, approximate=True)}


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


class View(NamedTuple):
    """The tokens that new ones see, and the angles by which those are turned."""

    mask: jax.Array  # [B, T, S_1 + ... + T] bool
    cosine: jax.Array  # [B, 1, T, C / 2]
    sine: jax.Array


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


class Ring(NamedTuple):
    """A segment of keys and values that new tokens are written into, at a place that goes round.

    All rows write at the same place, wherever their own texts are: so a token costs one update of a
    slice, and nothing is moved. What a row sees is the mask's affair, as rotary waves have been
    turned before keys lie here.
    """

    cache: KeyValues
    place: jax.Array  # [] int32, where the first new token goes; they must not go round the end


def within_window(mask: jax.Array, window: int) -> jax.Array:
    """`mask [B, T, S]` where each new token sees the last `window` of what it saw, itself among
    them: columns stand in the order of the text, whatever padding is between them."""
    behind = jnp.cumsum(mask[..., ::-1], axis=-1, dtype=jnp.int32)[..., ::-1]
    return mask & (behind <= window)


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
        past: Sequence[tuple[jax.Array, jax.Array]],
        view: View,
        place: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        c = self.config
        query, key, value = (projected(x, w[...]) for w in (self.query, self.key, self.value))
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
        added = over_heads(mixed, self.out[...].astype(x.dtype))
        return added.astype(x.dtype), segments[-1]


def product(subscripts: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """An einsum of two arrays of one dtype, summed up and returned in float32.

    So a product of bfloat16 is also eight times faster on CPU, where XLA has none that returns
    bfloat16 and turns whole weights into float32 for one. The products of its gradient are of the
    arrays' own dtype, as accelerators are fastest at.
    """
    if x.dtype == jnp.float32:
        return jnp.einsum(subscripts, x, y)
    return _narrow_product(subscripts, x, y)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _narrow_product(subscripts: str, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, x, y, preferred_element_type=jnp.float32)


def _forward(subscripts: str, x: jax.Array, y: jax.Array):
    return _narrow_product(subscripts, x, y), (x, y)


def _backward(subscripts: str, kept: tuple[jax.Array, jax.Array], slope: jax.Array):
    _, back = jax.vjp(functools.partial(jnp.einsum, subscripts), *kept)
    return back(slope.astype(kept[0].dtype))


_narrow_product.defvjp(_forward, _backward)


def times(x: jax.Array, weights: jax.Array) -> jax.Array:
    """`x [R, N]` times `weights [N, M]`, in the dtype of `x`: `[R, M]`."""
    return product("rn,nm->rm", x, weights.astype(x.dtype)).astype(x.dtype)


def projected(x: jax.Array, weights: jax.Array) -> jax.Array:
    """`x [B, T, D]` times `weights [D, heads, C]`: `[B, heads, T, C]`.

    The product keeps the order of its sides, and is turned around behind it: with heads in front of
    tokens in the product itself, XLA turns the weights around each time on CPU, which makes reading
    a single token several times slower.
    """
    found = product("btd,dhc->bthc", x, weights.astype(x.dtype)).astype(x.dtype)
    return found.swapaxes(1, 2)


def over_heads(x: jax.Array, weights: jax.Array) -> jax.Array:
    """`x [B, T, H, C]` times `weights [H, C, D]`, summed over heads: `[B, T, D]` in float32.

    With two axes to be summed over, XLA turns the weights around each time on CPU, which for a
    single token takes ten times longer. To make one axis of them is free there; on other devices,
    whose memory is tiled, it would move what the product itself need not.
    """

    def flat(x: jax.Array, weights: jax.Array) -> jax.Array:
        return product(
            "btn,nd->btd", x.reshape(*x.shape[:2], -1), weights.reshape(-1, weights.shape[2])
        )

    def apart(x: jax.Array, weights: jax.Array) -> jax.Array:
        return product("bthc,hcd->btd", x, weights)

    return jax.lax.platform_dependent(x, weights, cpu=flat, default=apart)


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


def capped(x: jax.Array, cap: float) -> jax.Array:
    """Keeps `x` between -cap and cap, smoothly; 0: leaves it as it is."""
    return cap * jnp.tanh(x / cap) if cap else x


class GatedMLP(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        c, scale = config, config.embed_dim**-0.5
        self.gate = _param(rngs, (c.embed_dim, c.mlp_dim), ("embed", "mlp"), scale)
        self.up = _param(rngs, (c.embed_dim, c.mlp_dim), ("embed", "mlp"), scale)
        out_scale = c.mlp_dim**-0.5 / (2 * c.num_layers) ** 0.5
        self.down = _param(rngs, (c.mlp_dim, c.embed_dim), ("mlp", "embed"), out_scale)
        self.activation = ACTIVATIONS[c.activation]

    def __call__(self, x: jax.Array) -> jax.Array:
        # One flat matrix product: on CPU the batched form is a fifth slower.
        flat = x.reshape(-1, x.shape[-1])
        gate = self.activation(times(flat, self.gate[...]))
        return times(gate * times(flat, self.up[...]), self.down[...]).reshape(x.shape)


class Block(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        self.mlp = GatedMLP(config, rngs)
        if config.post_norms:
            self.attention_post_norm = RMSNorm(config.embed_dim, config.norm_epsilon)
            self.mlp_post_norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        self.config = config

    def __call__(self, x, past, view, place=None):
        with jax.named_scope("attention"):
            added, new = self.attention(self.attention_norm(x), past, view, place)
            x = x + (self.attention_post_norm(added) if self.config.post_norms else added)
        with jax.named_scope("mlp"):
            added = self.mlp(self.mlp_norm(x))
            return x + (self.mlp_post_norm(added) if self.config.post_norms else added), new


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
        past: Sequence[KeyValues] | Ring = (),
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> tuple[jax.Array, KeyValues]:
        """Reads new tokens after `past`.

        Args:
            tokens: `[B, T]` int32.
            positions: `[B, T]` int32, from 0.
            mask: `[B, T, S_1 + ... + T]` bool, what each new token attends to: the segments of
                `past` in their order, then the new tokens. Padding in a segment is left out. Of a
                ring `[B, T, S]`, the new tokens in their places.
            past: segments of earlier keys and values, or a ring that the new ones go into.
            dtype: dtype of the computation; parameters keep their own.

        Returns:
            Hidden states `[B, T, D]`, normalised, for `policy_logits` and `value_logit`; and the
            new tokens' keys and values, or the ring's with them in it.
        """
        place = None
        if isinstance(past, Ring):
            past, place = (past.cache,), past.place
        scale = self.config.embed_dim**0.5 if self.config.scale_embeddings else 1.0
        x = rows_alone(self.embedding[...][tokens].astype(dtype) * scale)
        views = self._views(positions, without_padding(mask, past), place)
        local = is_local(self.config)
        if self.config.scan_layers and not past:
            graph, layers = nnx.split(self.blocks)
            xs = layers, np.asarray(local)
            x, (keys, values) = jax.lax.scan(self._reader(graph, views), x, xs)
            return self.norm(x), KeyValues(tuple(keys), tuple(values))
        keys, values = [], []
        for number, (graph, layer) in enumerate(self._layers()):
            layer_past = [(segment.keys[number], segment.values[number]) for segment in past]
            view = (views[local[number]],)
            reader = self._reader(graph, view, layer_past, place)
            x, (key, value) = reader(x, (layer, False))
            keys.append(key)
            values.append(value)
        return self.norm(x), KeyValues(tuple(keys), tuple(values))

    def _views(
        self, positions: jax.Array, mask: jax.Array, place: jax.Array | None
    ) -> tuple[View, ...]:
        """The view of layers that see all and that of local ones; one where all are alike.

        Args:
            place: of new tokens in a ring: behind the last of them begins the oldest.
        """
        c = self.config

        def view(mask: jax.Array, theta: float, scaling: RopeScaling) -> View:
            waves = frequencies(c.head_dim // 2, theta, scaling)
            angles = positions[:, None, :, None].astype(jnp.float32) * waves
            return View(mask, jnp.cos(angles), jnp.sin(angles))

        everything = view(mask, c.rope_theta, c.rope_scaling)
        if not c.window:
            return (everything,)
        oldest = 0 if place is None else place + positions.shape[1]
        in_order = jnp.roll(mask, -oldest, axis=-1)
        nearby = jnp.roll(within_window(in_order, c.window), oldest, axis=-1)
        if c.local_rope_theta:
            return everything, view(nearby, c.local_rope_theta, RopeScaling())
        return everything, everything._replace(mask=nearby)

    def _reader(self, graph: Any, views: tuple[View, ...], past=(), place=None) -> Callable:
        """One block as a function of what it reads, and of its parameters and whether it is local.

        Args:
            views: by that; of several the block chooses, of one it has no choice.
        """

        def read(x: jax.Array, of_layer: tuple[Any, jax.Array]):
            layer, local = of_layer
            view = views[0]
            if len(views) > 1:
                view = jax.tree.map(functools.partial(jnp.where, local), views[1], views[0])
            x, new = nnx.merge(graph, layer)(x, past, view, place)
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
        logits = product("...d,vd->...v", rows_alone(hidden), output[...].astype(hidden.dtype))
        return capped(logits, config.logit_cap)

    def value_logit(self, hidden: jax.Array) -> jax.Array:
        """Logit `[...]` in float32 of the probability that the solution comes out right."""
        with jax.named_scope("value_head"):
            return self.value_head(rows_alone(hidden))


def is_local(config: TransformerConfig) -> list[bool]:
    """Lists for each layer whether it sees its window alone."""
    every = config.global_every
    numbers = range(1, config.num_layers + 1)
    return [config.window > 0 and not (every and number % every == 0) for number in numbers]


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

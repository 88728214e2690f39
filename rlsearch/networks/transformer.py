"""A decoder-only transformer, of which the families of open models are settings.

RMSNorm before each block, rotary positions in the half-rotation form, grouped-query attention, a
gated MLP, no biases: Llama. Qwen 2 has biases on query, key and value; Qwen 3 normalises query and
key; Gemma scales embeddings, normalises what a block adds too, caps scores, and has layers that see
a window alone, as Mistral's do (`rlsearch.pretrained.families`).

It owns no cache of keys and values: see `rlsearch.networks.attention`.

Letters: B batch, T new tokens, S cached tokens of a segment, L layers, D features, H query heads,
C features of a head, V vocabulary.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rlsearch.config import RopeScaling, TransformerConfig
from rlsearch.networks.adapter import adapt, adapted
from rlsearch.networks.attention import (
    Attention,
    KeyValues,
    Ring,
    View,
    frequencies,
    within_window,
    without_padding,
)
from rlsearch.networks.layers import RMSNorm, capped, param, product, times
from rlsearch.networks.remat import rematerialised
from rlsearch.parallel.mesh import rows_alone

FLOAT32 = ("scale", "value_head")  # computed in float32 whatever the dtype: norms, and that head
ACTIVATIONS = {"silu": jax.nn.silu, "gelu": functools.partial(jax.nn.gelu, approximate=True)}


class GatedMLP(nnx.Module):
    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
        c, scale = config, config.embed_dim**-0.5
        self.gate = param(rngs, (c.embed_dim, c.mlp_dim), ("embed", "mlp"), scale)
        self.up = param(rngs, (c.embed_dim, c.mlp_dim), ("embed", "mlp"), scale)
        out_scale = c.mlp_dim**-0.5 / (2 * c.num_layers) ** 0.5
        self.down = param(rngs, (c.mlp_dim, c.embed_dim), ("mlp", "embed"), out_scale)
        self.activation = ACTIVATIONS[c.activation]
        adapt(self, c.adapter, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        # One flat matrix product: on CPU the batched form is a fifth slower.
        flat = x.reshape(-1, x.shape[-1])
        gate = self.activation(adapted(self, "gate", flat, times))
        hidden = gate * adapted(self, "up", flat, times)
        return adapted(self, "down", hidden, times).reshape(x.shape)


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
        self.hidden = param(rngs, (config.embed_dim, config.value_dim), ("embed", "mlp"), scale)
        self.out = param(rngs, (config.value_dim,), ("mlp",), 0.0)
        self.bias = param(rngs, (), (), 0.0)

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
        self.embedding = param(rngs, shape, axes, config.embed_dim**-0.5)
        blocks = [Block(config, rngs) for _ in range(config.num_layers)]
        self.blocks: Any = stacked(blocks) if config.scan_layers else nnx.List(blocks)
        self.norm = RMSNorm(config.embed_dim, config.norm_epsilon)
        if not config.tie_embeddings:
            self.unembedding = param(rngs, shape, axes, config.embed_dim**-0.5)
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

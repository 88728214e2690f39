"""The transformer as pure functions of its parameters.

The module is split once, here. From then on parameters are a pure dict, which `jax.jit`,
`jax.grad` and optax handle at a fifth of the host time that NNX's own transforms take; the module
is merged again only inside traced functions.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rlsearch.config import Adapter, TransformerConfig
from rlsearch.networks.adapter import has_adapter, merged
from rlsearch.networks.attention import KeyValues, Ring, causal_mask
from rlsearch.networks.computed import in_dtype
from rlsearch.networks.logical_axes import logical_axes
from rlsearch.networks.transformer import FLOAT32, Transformer

Params = Any  # a pure dict of arrays


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A transformer of some shape. Holds no weights."""

    config: TransformerConfig
    vocab_size: int

    def init(self, key: jax.Array) -> Params:
        """Fresh float32 parameters."""
        _, state = nnx.split(Transformer(self.config, self.vocab_size, nnx.Rngs(params=key)))
        return nnx.to_pure_dict(state)

    @functools.cached_property
    def _abstract(self) -> tuple[Any, Any]:
        return nnx.split(
            nnx.eval_shape(lambda: Transformer(self.config, self.vocab_size, nnx.Rngs(0)))
        )

    def logical_axes(self) -> Params:
        """For each parameter the names of its axes, in the shape of the parameters."""
        return logical_axes(self._abstract[1])

    def merged(self, params: Params) -> Params:
        """The parameters with what adapters add in their weights, as `without_adapter` has them."""
        return merged(params, self.config.adapter, self.config.scan_layers)

    def computed(self, params: Params) -> Params:
        """The parameters that are computed with, each in its dtype, adapters in their weights."""
        return in_dtype(self.merged(params), self.config.dtype, FLOAT32)

    @functools.cached_property
    def without_adapter(self) -> "LanguageModel":
        """The same network without adapters."""
        if not self.config.adapter.rank:
            return self
        config = dataclasses.replace(self.config, adapter=Adapter())
        return LanguageModel(config, self.vocab_size)

    def num_params(self) -> int:
        """The number of parameters, heads included."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.to_pure_dict(self._abstract[1])))

    def _module(self, params: Params) -> Transformer:
        model = self if has_adapter(params) else self.without_adapter
        return nnx.merge(model._abstract[0], params)

    @jax.named_scope("network")
    def extend(
        self,
        params: Params,
        tokens: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        past: Sequence[KeyValues] | Ring = (),
    ) -> tuple[jax.Array, KeyValues]:
        """Reads new tokens after `past`; see `Transformer.__call__`."""
        return self._module(params)(
            tokens, positions, mask, past, dtype=jnp.dtype(self.config.dtype)
        )

    def read(
        self, params: Params, tokens: jax.Array, real: jax.Array | None = None
    ) -> tuple[jax.Array, KeyValues]:
        """Reads `tokens [B, T]` from the start, causally.

        Args:
            real: `[B, T]` bool, False for padding, which nothing else attends to, now or later. As
                rotary positions are relative, padding on the left changes nothing.
        """
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        mask = causal_mask(tokens.shape[1])
        if real is None:
            return self.extend(params, tokens, positions, mask)
        # Padding still sees itself, so that no softmax is over nothing.
        mask = (mask & real[:, None]) | jnp.eye(tokens.shape[1], dtype=bool)
        hidden, cache = self.extend(params, tokens, positions, mask)
        return hidden, cache._replace(real=real)

    @jax.named_scope("network")
    def policy_logits(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Next-token logits `[..., V]`, float32."""
        return self._module(params).policy_logits(hidden)

    def value(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Estimated probability `[...]`, float32, that the solution comes out right."""
        return jax.nn.sigmoid(self.value_logit(params, hidden))

    @jax.named_scope("network")
    def value_logit(self, params: Params, hidden: jax.Array) -> jax.Array:
        return self._module(params).value_logit(hidden)

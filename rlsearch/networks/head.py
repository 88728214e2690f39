"""A value head by itself, for a trunk that another network owns."""

import dataclasses
import functools
from typing import Any

import jax
from flax import nnx

from rlsearch.config import TransformerConfig
from rlsearch.networks.language_model import Params
from rlsearch.networks.logical_axes import logical_axes
from rlsearch.networks.transformer import ValueHead


@dataclasses.dataclass(frozen=True)
class Head:
    """A head for hidden states of a transformer of some shape. Holds no weights."""

    config: TransformerConfig

    def init(self, key: jax.Array) -> Params:
        """Fresh float32 parameters, which give every hidden state the logit 0."""
        return nnx.to_pure_dict(nnx.split(ValueHead(self.config, nnx.Rngs(params=key)))[1])

    def logical_axes(self) -> Params:
        """The names of each parameter's axes, in the structure of `init`'s result."""
        return logical_axes(self._abstract[1])

    def computed(self, params: Params) -> Params:
        """The parameters as they are: a head is computed in float32."""
        return params

    @functools.cached_property
    def _abstract(self) -> tuple[Any, Any]:
        return nnx.split(nnx.eval_shape(lambda: ValueHead(self.config, nnx.Rngs(0))))

    def num_params(self) -> int:
        """The number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.to_pure_dict(self._abstract[1])))

    def logit(self, params: Params, hidden: jax.Array) -> jax.Array:
        """`[...]` float32 of `hidden [..., D]`."""
        return nnx.merge(self._abstract[0], params)(hidden)

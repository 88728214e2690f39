"""The residual tower as pure functions of its parameters; see `language_model` for why."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rlsearch.config import TowerConfig
from rlsearch.networks.computed import in_dtype
from rlsearch.networks.logical_axes import logical_axes
from rlsearch.networks.residual_tower import ResidualTower

Params = Any  # a pure dict of arrays


@dataclasses.dataclass(frozen=True)
class BoardModel:
    """A residual tower of some shape. Holds no weights."""

    config: TowerConfig
    observation_shape: tuple[int, int, int]
    num_actions: int

    def _build(self, rngs: nnx.Rngs) -> ResidualTower:
        return ResidualTower(self.config, self.observation_shape, self.num_actions, rngs)

    def init(self, key: jax.Array) -> Params:
        """Fresh float32 parameters."""
        return nnx.to_pure_dict(nnx.state(self._build(nnx.Rngs(params=key))))

    @functools.cached_property
    def _abstract(self) -> tuple[Any, Any]:
        return nnx.split(nnx.eval_shape(lambda: self._build(nnx.Rngs(0))))

    def logical_axes(self) -> Params:
        """For each parameter the names of its axes, in the shape of the parameters."""
        return logical_axes(self._abstract[1])

    def computed(self, params: Params) -> Params:
        """The parameters in the dtype that each is computed with: norms' in float32."""
        return in_dtype(params, self.config.dtype, ("norm", "norms"))

    def num_params(self) -> int:
        """The number of parameters, heads included."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.to_pure_dict(self._abstract[1])))

    @jax.named_scope("network")
    def heads(self, params: Params, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Policy logits `[B, A]` and value logits, float32."""
        return nnx.merge(self._abstract[0], params)(observations)

    def evaluate(self, params: Params, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Policy logits `[B, A]` and values `[B]` to the player who moves, float32."""
        policy, value = self.heads(params, observations)
        return policy, self.value(value)

    def value(self, logits: jax.Array) -> jax.Array:
        """The expected return that value logits `[..., 3]` or `[..., 1]` stand for."""
        if self.config.value == "outcomes":  # probabilities of losing, drawing and winning
            loss, _, win = jnp.moveaxis(jax.nn.softmax(logits), -1, 0)
            return win - loss
        return jnp.tanh(logits[..., 0]) if self.config.value == "bounded" else logits[..., 0]

    def value_loss(self, logits: jax.Array, returns: jax.Array) -> jax.Array:
        """Loss `[...]` of value logits for returns `[...]`.

        Outcomes: cross-entropy with the mixture of a draw and a decision that has this mean.
        """
        if self.config.value != "outcomes":
            return jnp.square(self.value(logits) - returns)
        win, loss = jnp.clip(returns, 0.0, 1.0), jnp.clip(-returns, 0.0, 1.0)
        target = jnp.stack([loss, 1.0 - win - loss, win], axis=-1)
        return -(target * jax.nn.log_softmax(logits)).sum(axis=-1)

"""The distribution that tokens are drawn from."""

import dataclasses
import math

import jax
import jax.numpy as jnp

FORBIDDEN = -1e9  # a logit, finite so that nothing becomes NaN


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The change made to a next-token distribution before a token is drawn. Static in `jit`."""

    temperature: float = 1.0  # 0 takes the likeliest token
    min_p: float = 0.0  # tokens less likely than this times the likeliest one are not drawn
    # (Nguyen et al. 2024, min-p sampling)

    def __post_init__(self):
        if not 0.0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature!r}: it must be at least 0")
        if not 0.0 <= self.min_p < 1.0:
            raise ValueError(f"min_p is {self.min_p!r}: it must be in [0, 1)")

    def log_probs(self, prior: jax.Array) -> jax.Array:
        """`[..., V]` log-probabilities of a draw, from the policy's own `prior [..., V]`."""
        draw = prior
        if self.temperature not in (0.0, 1.0):
            draw = jax.nn.log_softmax(prior / self.temperature)
        if self.min_p > 0.0:
            likely = draw >= draw.max(axis=-1, keepdims=True) + math.log(self.min_p)
            draw = jnp.where(likely, draw, FORBIDDEN)
            draw = jnp.where(likely, jax.nn.log_softmax(draw), FORBIDDEN)
        return draw

    def pick(self, weights: jax.Array, uniform: jax.Array) -> jax.Array:
        """`[B]` int32, tokens drawn from `weights [B, V]`, not normalised, by `uniform [B]`."""
        if self.temperature == 0.0:
            return jnp.argmax(weights, axis=-1).astype(jnp.int32)
        cumulative = jnp.cumsum(weights, axis=-1)
        threshold = uniform[:, None] * cumulative[:, -1:]
        token = (cumulative <= threshold).sum(axis=-1, dtype=jnp.int32)
        return jnp.minimum(token, weights.shape[-1] - 1)


GREEDY = Sampling(temperature=0.0)

"""The distribution that tokens are drawn from."""

import dataclasses
import math

import jax
import jax.numpy as jnp

FORBIDDEN = -1e9  # a logit, finite so that nothing becomes NaN


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The change made to a next-token distribution before a token is drawn. Static in `jit`.

    The temperature comes first, then each limit is of what the one before it has left.
    """

    temperature: float = 1.0  # 0 takes the likeliest token
    min_p: float = 0.0  # tokens less likely than this times the likeliest one are not drawn
    # (Nguyen et al. 2024, min-p sampling)
    top_k: int = 0  # only the K likeliest are drawn; 0: no limit
    top_p: float = 1.0  # only the fewest likeliest that together have this share (Holtzman et al.
    # 2019, nucleus sampling)

    def __post_init__(self):
        if not 0.0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature!r}: it must be at least 0")
        if not 0.0 <= self.min_p < 1.0:
            raise ValueError(f"min_p is {self.min_p!r}: it must be in [0, 1)")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k!r}: it must be at least 0")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p!r}: it must be in (0, 1]")

    def log_probs(self, prior: jax.Array) -> jax.Array:
        """`[..., V]` log-probabilities of a draw, from the policy's own `prior [..., V]`."""
        draw = prior
        if self.temperature not in (0.0, 1.0):
            draw = jax.nn.log_softmax(prior / self.temperature)
        if 0 < self.top_k < prior.shape[-1]:
            lowest = jax.lax.top_k(draw, self.top_k)[0][..., -1:]
            draw = _limited(draw, draw >= lowest)
        if self.top_p < 1.0:
            ordered = jnp.sort(draw, axis=-1, descending=True)
            before = jnp.cumsum(jnp.exp(ordered), axis=-1) - jnp.exp(ordered)
            inside = jnp.where(before < self.top_p, ordered, jnp.inf)
            draw = _limited(draw, draw >= inside.min(axis=-1, keepdims=True))
        if self.min_p > 0.0:
            likely = draw >= draw.max(axis=-1, keepdims=True) + math.log(self.min_p)
            draw = _limited(draw, likely)
        return draw

    def draw(self, prior: jax.Array, uniform: jax.Array) -> jax.Array:
        """`[B]` int32, tokens drawn by `uniform [B]`, from the policy's own `prior [B, V]`."""
        if self.temperature == 0.0:
            return jnp.argmax(prior, axis=-1).astype(jnp.int32)
        return self.pick(jnp.exp(self.log_probs(prior)), uniform)

    def pick(self, weights: jax.Array, uniform: jax.Array) -> jax.Array:
        """`[B]` int32, tokens drawn from `weights [B, V]`, not normalised, by `uniform [B]`."""
        if self.temperature == 0.0:
            return jnp.argmax(weights, axis=-1).astype(jnp.int32)
        cumulative = jnp.cumsum(weights, axis=-1)
        threshold = uniform[:, None] * cumulative[:, -1:]
        token = (cumulative <= threshold).sum(axis=-1, dtype=jnp.int32)
        return jnp.minimum(token, weights.shape[-1] - 1)


def _limited(draw: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-probabilities `[..., V]` of a draw from the allowed tokens alone."""
    draw = jnp.where(allowed, draw, FORBIDDEN)
    return jnp.where(allowed, jax.nn.log_softmax(draw), FORBIDDEN)


GREEDY = Sampling(temperature=0.0)

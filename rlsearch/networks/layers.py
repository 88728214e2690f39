"""The parts that blocks are made of: weights with named axes, a norm, and products.

Letters: B batch, T tokens, D features, H heads, C features of a head, R rows, N and M features.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx


def param(rngs: nnx.Rngs, shape, axes, scale: float) -> nnx.Param:
    """A float32 weight that names its axes, for whoever decides how to shard it."""
    value = scale * jax.random.truncated_normal(rngs.params(), -2.0, 2.0, shape, jnp.float32)
    return nnx.Param(value, logical_axes=axes)


class RMSNorm(nnx.Module):
    """Scales features to a mean square of 1, in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, features: int, epsilon: float):
        self.scale = nnx.Param(jnp.ones((features,), jnp.float32), logical_axes=("norm",))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.epsilon)
        return (normed * self.scale[...]).astype(x.dtype)


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


def capped(x: jax.Array, cap: float) -> jax.Array:
    """Keeps `x` between -cap and cap, smoothly; 0: leaves it as it is."""
    return cap * jnp.tanh(x / cap) if cap else x

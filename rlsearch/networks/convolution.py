"""A convolution whose gradient is fast within a loop on a CPU too.

XLA's CPU compiler brings a convolution into the form that its fast kernel takes only outside of
loops and branches. The gradients of a convolution are not born in that form, so that within
`lax.scan`, where training steps live, they fall to a kernel that was measured 30 times as slow
(jaxlib 0.10). On a CPU they are therefore written in that form here; elsewhere they are JAX's.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(inputs: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """`[B, H, W, I]` with a kernel `[h, w, I, O]` to `[B, H, W, O]`: stride 1, padded with zeros.

    Takes the place of `lax.conv_general_dilated` in `nnx.Conv`, whose other arguments are left at
    what they are by default.
    """
    return _convolve(inputs, kernel)


def _outputs(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(inputs, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


def _forward(inputs: jax.Array, kernel: jax.Array):
    return _outputs(inputs, kernel), (inputs, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array):
    return lax.platform_dependent(
        *saved, gradient, cpu=_gradients_as_convolutions, default=_gradients
    )


def _gradients(inputs: jax.Array, kernel: jax.Array, gradient: jax.Array):
    return jax.vjp(_outputs, inputs, kernel)[1](gradient)


def _gradients_as_convolutions(inputs: jax.Array, kernel: jax.Array, gradient: jax.Array):
    """dX = dY * W turned by 180 degrees; dW = X * dY, the batch being what is summed over."""
    padding = [((size - 1) // 2, size // 2) for size in kernel.shape[:2]]

    def convolution(x: jax.Array, w: jax.Array, padding: list[tuple[int, int]]) -> jax.Array:
        return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=LAYOUT)

    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    to_inputs = convolution(gradient, turned, [(high, low) for low, high in padding])
    by_feature = jnp.transpose(inputs, (3, 1, 2, 0))
    to_kernel = convolution(by_feature, jnp.transpose(gradient, (1, 2, 0, 3)), padding)
    return to_inputs, jnp.transpose(to_kernel, (1, 2, 0, 3))


_convolve = jax.custom_vjp(_outputs)
_convolve.defvjp(_forward, _backward)

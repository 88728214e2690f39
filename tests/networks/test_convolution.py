import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from rlsearch.networks.convolution import LAYOUT, convolve


@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2, 3), (1, 2)])
def test_outputs_and_gradients_are_those_of_jax(size):
    random = np.random.default_rng(0)
    inputs = jnp.asarray(random.standard_normal((4, 5, 3, 2)), jnp.float32)
    kernel = jnp.asarray(random.standard_normal((*size, 2, 6)), jnp.float32)
    weight = jnp.asarray(random.standard_normal((4, 5, 3, 6)), jnp.float32)
    jax_convolve = functools.partial(
        lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=LAYOUT
    )

    def loss(function, inputs, kernel):
        return (weight * jnp.tanh(function(inputs, kernel))).sum()

    for function in (loss, jax.grad(loss, argnums=(1, 2))):
        ours = jax.jit(functools.partial(function, convolve))(inputs, kernel)
        theirs = jax.jit(functools.partial(function, jax_convolve))(inputs, kernel)
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)

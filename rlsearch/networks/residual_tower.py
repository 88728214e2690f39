"""A residual tower with policy and value heads, for boards.

The tower of AlphaZero (Silver et al. 2017) with its blocks pre-activated (He et al. 2016) and,
by config, squeeze-and-excitation (Hu et al. 2018). Features are normalised at each cell, so that
the network has no running statistics and one position never depends on another of its batch.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rlsearch.config import TowerConfig
from rlsearch.networks.convolution import convolve
from rlsearch.networks.remat import rematerialised
from rlsearch.parallel.mesh import rows_alone

POLICY_CHANNELS, VALUE_CHANNELS = 16, 8  # features of a cell that the heads read

# Names of the axes of a product, for whoever shards it. One that leads away from the features
# between blocks is followed by one that leads back: of such a pair each device can do its part.
AWAY, BACK = ("embed", "channels"), ("channels", "embed")


def _kernel(*axes: str) -> dict:
    return {"logical_axes": axes}


def _norm(features: int, dtype: jax.typing.DTypeLike, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        features,
        dtype=dtype,
        scale_metadata={"logical_axes": ("norm",)},
        bias_metadata={"logical_axes": ("norm",)},
        rngs=rngs,
    )


def _conv(
    inputs: int,
    outputs: int,
    size: tuple[int, int],
    dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    axes: tuple[str, str],
    bias: bool = False,
) -> nnx.Conv:
    return nnx.Conv(
        inputs,
        outputs,
        size,
        dtype=dtype,
        use_bias=bias,
        conv_general_dilated=convolve,
        kernel_init=nnx.initializers.he_normal(),
        kernel_metadata=_kernel("rows", "columns", *axes),
        bias_metadata=_kernel(axes[1]),
        rngs=rngs,
    )


def _dense(
    inputs: int,
    outputs: int,
    dtype: jax.typing.DTypeLike,
    rngs: nnx.Rngs,
    axes: tuple[str, str],
    scale: float = 1.0,
) -> nnx.Linear:
    return nnx.Linear(
        inputs,
        outputs,
        dtype=dtype,
        kernel_init=nnx.initializers.variance_scaling(scale, "fan_in", "truncated_normal"),
        kernel_metadata=_kernel(*axes),
        bias_metadata=_kernel(axes[1]),
        rngs=rngs,
    )


class SqueezeExcite(nnx.Module):
    """Scales every feature by what the whole board says."""

    def __init__(self, channels: int, ratio: int, dtype: jax.typing.DTypeLike, rngs: nnx.Rngs):
        hidden = max(1, channels // ratio)
        self.squeeze = _dense(channels, hidden, dtype, rngs, AWAY)
        self.excite = _dense(hidden, channels, dtype, rngs, BACK)

    def __call__(self, x: jax.Array) -> jax.Array:
        mean = x.mean(axis=(1, 2))
        scale = jax.nn.sigmoid(self.excite(jax.nn.relu(self.squeeze(mean))))
        return x * scale[:, None, None]


class Block(nnx.Module):
    """`x + conv(relu(norm(conv(relu(norm(x))))))`."""

    def __init__(self, config: TowerConfig, size: tuple[int, int], rngs: nnx.Rngs):
        channels, dtype = config.channels, jnp.dtype(config.dtype)
        self.norms = nnx.List([_norm(channels, dtype, rngs) for _ in range(2)])
        self.convs = nnx.List(
            [_conv(channels, channels, size, dtype, rngs, axes) for axes in (AWAY, BACK)]
        )
        self.gate = (
            SqueezeExcite(channels, config.squeeze_excite, dtype, rngs)
            if config.squeeze_excite
            else None
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(jax.nn.relu(norm(y)))
        return x + (y if self.gate is None else self.gate(y))


def _reader(graph: Any) -> Callable:
    """A block as a function of its parameters and of what it reads."""
    return lambda state, x: nnx.merge(graph, state)(x)


class ResidualTower(nnx.Module):
    """Observations `[B, rows, columns, features]` to policy logits and value logits."""

    def __init__(
        self,
        config: TowerConfig,
        observation_shape: tuple[int, int, int],
        num_actions: int,
        rngs: nnx.Rngs,
    ):
        rows, columns, features = observation_shape
        size = min(3, rows), min(3, columns)  # an observation that is no board has one cell
        channels, cells = config.channels, rows * columns
        self.remat = config.remat
        self.dtype = dtype = jnp.dtype(config.dtype)  # of the computation; parameters are float32
        self.stem = _conv(features, channels, size, dtype, rngs, ("features", "embed"))
        self.blocks = nnx.List([Block(config, size, rngs) for _ in range(config.num_blocks)])
        self.norm = _norm(channels, dtype, rngs)
        cell, out = (1, 1), ("embed", "features")
        self.policy_cells = _conv(channels, POLICY_CHANNELS, cell, dtype, rngs, out, bias=True)
        self.policy = _dense(cells * POLICY_CHANNELS, num_actions, dtype, rngs, out, scale=0.01)
        self.value_cells = _conv(channels, VALUE_CHANNELS, cell, dtype, rngs, out, bias=True)
        self.value_hidden = _dense(cells * VALUE_CHANNELS, config.value_dim, dtype, rngs, AWAY)
        outcomes, back = 3 if config.value == "outcomes" else 1, ("channels", "features")
        self.value = _dense(config.value_dim, outcomes, dtype, rngs, back, scale=0.01)

    def __call__(self, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Policy logits `[B, A]` and value logits `[B, 3]` or `[B, 1]`, float32."""
        x = rows_alone(self.stem(observations.astype(self.dtype)))
        for block in self.blocks:
            graph, state = nnx.split(block)
            read = rematerialised(_reader(graph), self.remat)
            x = rows_alone(read(state, x))
        x = jax.nn.relu(self.norm(x))
        flat = (x.shape[0], -1)
        policy = self.policy(jax.nn.relu(self.policy_cells(x)).reshape(flat))
        value = jax.nn.relu(self.value_cells(x)).reshape(flat)
        value = self.value(jax.nn.relu(self.value_hidden(value)))
        return policy.astype(jnp.float32), value.astype(jnp.float32)


def tower_flops(
    config: TowerConfig, observation_shape: tuple[int, int, int], num_actions: int
) -> float:
    """Forward FLOPs of one position: two a multiply-add of its products."""
    rows, columns, features = observation_shape
    cells, channels = rows * columns, config.channels
    window = math.prod((min(3, rows), min(3, columns)))
    convs = window * channels * (features + 2 * config.num_blocks * channels)
    heads = channels * (POLICY_CHANNELS + VALUE_CHANNELS)
    dense = POLICY_CHANNELS * num_actions + VALUE_CHANNELS * config.value_dim
    return 2.0 * cells * (convs + heads + dense)

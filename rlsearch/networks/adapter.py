"""Low-rank additions to weights: LoRA (Hu et al. 2021).

A weight W [in, out] becomes `W + alpha / rank A B`. A network that is learnt reads `x W` and
`x A B`, so that W has no gradient; one that is read many times has the sum in place of W.

Letters: D features, H heads, C features of a head, R rank.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rlsearch.config import Adapter
from rlsearch.networks.layers import over_heads, param, product, projected

ADAPTER = "adapter"  # where a block's attention and MLP keep theirs, by the names of the weights


class LowRank(nnx.Module):
    """The addition to one weight: `down [..., R]` has the axes that the weight sums over, and
    `up [R, ...]` the others, and begins as zeros."""

    def __init__(self, config: Adapter, weight: nnx.Param, summed: int, rngs: nnx.Rngs):
        shape, axes = weight[...].shape, weight.get_metadata()["logical_axes"]
        scale = math.prod(shape[:summed]) ** -0.5
        self.down = param(rngs, (*shape[:summed], config.rank), (*axes[:summed], "rank"), scale)
        self.up = param(rngs, (config.rank, *shape[summed:]), ("rank", *axes[summed:]), 0.0)
        self.scale = config.alpha / config.rank

    def __call__(self, x: jax.Array) -> jax.Array:
        """What is added to the product of `x` and the weight, in its shape and dtype."""
        down, up = self.down[...].astype(x.dtype), self.up[...].astype(x.dtype)
        if down.ndim == 3:  # [H, C, R]
            narrow = over_heads(x, down).astype(x.dtype)
        else:
            narrow = product("...d,dr->...r", x, down).astype(x.dtype)
        if up.ndim == 3:  # [R, H, C]
            return self.scale * projected(narrow, up)
        return self.scale * product("...r,rd->...d", narrow, up).astype(x.dtype)


def adapt(module: Any, config: Adapter, rngs: nnx.Rngs) -> None:
    """Gives those weights of `module` that `config` names, if any, their additions."""
    targets = [name for name in config.targets if hasattr(module, name)]
    if config.rank and targets:
        made = {
            name: LowRank(config, getattr(module, name), 2 if name == "out" else 1, rngs)
            for name in targets
        }
        setattr(module, ADAPTER, nnx.Dict(made))


def adapted(module: Any, name: str, x: jax.Array, times: Callable) -> jax.Array:
    """`times(x, W)` of the weight W of that name, with what its adapter adds, if it has one."""
    found, adapters = times(x, getattr(module, name)[...]), getattr(module, ADAPTER, {})
    return found + adapters[name](x) if name in adapters else found


def has_adapter(params: Any) -> bool:
    """Tells whether a pure dict of parameters has adapters beside its weights."""
    if not isinstance(params, dict):
        return False
    return ADAPTER in params or any(map(has_adapter, params.values()))


def merged(params: Any, config: Adapter, stacked: bool) -> Any:
    """Parameters with what adapters add in their weights, and without adapters.

    Args:
        stacked: all weights have an axis in front, of layers.
    """
    if not isinstance(params, dict):
        return params
    found = {key: merged(x, config, stacked) for key, x in params.items() if key != ADAPTER}

    def addition(down: jax.Array, up: jax.Array) -> jax.Array:
        return jnp.tensordot(down, up, axes=1)

    addition = jax.vmap(addition) if stacked else addition
    for name, pair in params.get(ADAPTER, {}).items():
        change = addition(pair["down"], pair["up"]).astype(found[name].dtype)
        found[name] = found[name] + config.alpha / config.rank * change
    return found

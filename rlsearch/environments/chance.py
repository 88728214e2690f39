"""The part that chance has in a game, found by looking at how it is computed.

No list of names is kept: a step is traced, and what of its input its result depends on is what a
compiler would keep of it. So a user's own game is known as well as those of pgx.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from rlsearch.environments.base import Environment

BEGINNINGS = 64  # drawn to see whether all games begin alike


def has_chance(environment: Environment) -> bool:
    """Tells whether anything that a step leads to depends on its key. Nothing is computed."""
    key = jax.eval_shape(jax.random.key, 0)
    state = jax.eval_shape(environment.reset, key)
    action = jax.ShapeDtypeStruct((), jnp.int32)
    step = jax.make_jaxpr(environment.step)(state, action, key).jaxpr
    _, used = dce_jaxpr(step, [True] * len(step.outvars))
    return used[-1]


def begins_differently(environment: Environment) -> bool:
    """Tells whether games begin in more than one position, as the first player to move sees it."""
    keys = jax.random.split(jax.random.key(0), BEGINNINGS)
    first = jax.jit(jax.vmap(lambda key: environment.observe(environment.reset(key))))
    seen = np.asarray(first(keys))
    return bool((seen != seen[0]).any())

"""Rematerialisation: what a forward pass keeps for the backward one, and what is computed again."""

from collections.abc import Callable

import jax

EVERYTHING = "everything_saveable"


def rematerialised(function: Callable, policy: str) -> Callable:
    """`function` with only those intermediate values kept that a policy names.

    Args:
        policy: the name of one of `jax.checkpoint_policies`. Values and gradients are the same with
            any; memory and time are not.
    """
    if policy == EVERYTHING:
        return function
    return jax.checkpoint(function, policy=getattr(jax.checkpoint_policies, policy))

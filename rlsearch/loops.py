"""Loops that the data ends, of which a reader of the compiled program knows the most turns.

A compiled program does not say how often such a loop turns. Whoever plans what a step costs
(`rlsearch.planning`) reads the most of it from the loop's named scope.
"""

import re
from collections.abc import Callable
from typing import Any

import jax

_SCOPE = re.compile(r"at_most_(\d+)(?:/while)?$")


def while_at_most(turns: int, condition: Callable, body: Callable, start: Any) -> Any:
    """A `jax.lax.while_loop` that `condition` ends after no more than about `turns` turns.

    Args:
        turns: for planning alone; nothing holds the loop to it.
    """
    with jax.named_scope(f"at_most_{turns}"):
        return jax.lax.while_loop(condition, body, start)


def most_turns(scope: str) -> int | None:
    """Reads the most turns of a loop from its scope; None where that does not say it."""
    match = _SCOPE.search(scope)
    return int(match[1]) if match else None

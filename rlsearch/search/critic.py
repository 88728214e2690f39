"""How a search in language values its nodes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Critic(NamedTuple):
    """Values solutions so far, and remembers of each what it has read of it.

    `read` is that of a verifier: of the policy's model and parameters, prompts `[B, P]`, solutions,
    their format, `shared` and the memory of what was there before the newest step, it makes values
    `[B]` float32 in [0, 1], the memory behind that step, and the tokens `[B]` int32 that it read.
    """

    read: Callable[..., tuple[jax.Array, Any, jax.Array]]
    shared: Any = ()  # what all nodes of a root's tree have in common, leaves [B, ...]
    memory: Any = ()  # of the root, leaves [B, ...]; a tree keeps one for every node

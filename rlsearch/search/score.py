"""How a search in language values its nodes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import Prefix, StepFormat
from rlsearch.networks.language_model import LanguageModel, Params


class Critic(NamedTuple):
    """Values solutions so far, and remembers of each what it has read of it.

    `read` is that of a verifier: of the policy's model and parameters, prompts `[B, P]`, solutions,
    their format, `shared` and the memory of what was there before the newest step, it makes values
    `[B]` float32 in [0, 1], the memory behind that step, and the tokens `[B]` int32 that it read.
    """

    read: Callable[..., tuple[jax.Array, Any, jax.Array]]
    shared: Any = ()  # what all nodes of a root's tree have in common, leaves [B, ...]
    memory: Any = ()  # of the root, leaves [B, ...]; a tree keeps one for every node


def _read_value_head(
    model: LanguageModel,
    params: Params,
    prompts: jax.Array,
    prefix: Prefix,
    form: StepFormat,
    shared: Any,
    memory: Any,
) -> tuple[jax.Array, Any, jax.Array]:
    del form, shared
    return model.value(params, prefix.hidden), memory, jnp.zeros(prompts.shape[:1], jnp.int32)


# The policy's own critic values finished solutions like any others: no ground truth.
VALUE_HEAD = Critic(_read_value_head)

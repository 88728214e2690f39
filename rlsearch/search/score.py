"""How a search in language values its nodes."""

from collections.abc import Callable

import jax

from rlsearch.decoding.steps import Prefix, StepFormat
from rlsearch.networks.language_model import LanguageModel, Params

# Model and parameters of the policy, prompts [B, P] and solutions so far: [B] float32 in [0, 1].
Score = Callable[[LanguageModel, Params, jax.Array, Prefix, StepFormat], jax.Array]


def by_value_head(
    model: LanguageModel, params: Params, prompts: jax.Array, prefix: Prefix, form: StepFormat
) -> jax.Array:
    """The policy's own critic values finished solutions like any others: no ground truth."""
    del prompts, form
    return model.value(params, prefix.hidden)

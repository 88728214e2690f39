"""One search for every kind of action."""

from collections.abc import Callable

import jax

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import Prefix, StepFormat
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.search.result import StepSearchResult
from rlsearch.search.steps import search_steps
from rlsearch.search.tokens import search_tokens


def search(
    params: Params,
    keys: jax.Array,
    prompts: jax.Array,
    prompt_cache: KeyValues,
    prefix: Prefix,
    model: LanguageModel,
    form: StepFormat,
    config: SearchConfig,
    judge: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> tuple[StepSearchResult, Prefix]:
    """Searches for the next action of B partly written solutions at once.

    Args:
        keys: `[B]` typed keys, one a root, consumed. A root's search depends on its own key alone.
        prompts: `[B, P]` int32, for the judge alone.
        prompt_cache: what the model made of the prompts; all nodes of a tree share it.
        prefix: the solutions so far.
        judge: `(prompts, tokens [B, T]) -> [B]` values in [0, 1] of finished solutions. In
            training this is the checker. Without one the critic values a finished solution like
            any other: no ground truth is used.

    Returns:
        The result, and the prefixes with the chosen action appended.
    """
    run = search_steps if config.actions == "steps" else search_tokens
    return run(params, keys, prompts, prompt_cache, prefix, model, form, config, judge)


def num_decisions(form: StepFormat, config: SearchConfig) -> int:
    """Searches that write a whole solution."""
    return form.num_steps if config.actions == "steps" else form.max_length

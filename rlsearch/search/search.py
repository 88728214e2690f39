"""One search for every kind of action in language."""

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import Prefix, StepFormat, draw_step, draw_token
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.search.critic import Critic
from rlsearch.search.mcts import Tree
from rlsearch.search.result import StepSearchResult
from rlsearch.search.steps import search_steps, step_candidates
from rlsearch.search.summary import summarise
from rlsearch.search.tokens import search_tokens, token_candidates


@jax.named_scope("search")
def search(
    params: Params,
    keys: jax.Array,
    prompts: jax.Array,
    prompt_cache: KeyValues,
    prefix: Prefix,
    model: LanguageModel,
    form: StepFormat,
    config: SearchConfig,
    critic: Critic,
) -> tuple[StepSearchResult, Prefix]:
    """Searches for the next action of B partly written solutions at once.

    Args:
        keys: `[B]` typed keys, one a root, consumed. A root's search depends on its own key alone.
        prompts: `[B, P]` int32, for `critic` alone.
        prompt_cache: what the model made of the prompts; all nodes of a tree share it.
        prefix: the solutions so far.
        critic: values solutions so far, and finished ones. In training it knows which of those
            are right.

    Returns:
        The result, and the prefixes with the chosen action appended.
    """
    grow_keys, action_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    run = search_steps if config.actions == "steps" else search_tokens
    tree, tokens = run(
        params, grow_keys, prompts, prompt_cache, prefix, model, form, config, critic
    )
    root = jnp.zeros(prompts.shape[:1], jnp.int32)
    result, after, _ = decide(tree, root, tokens, action_keys, form, config)
    return result, after


def decide(
    tree: Tree,
    node: jax.Array,
    tokens: jax.Array,
    keys: jax.Array,
    form: StepFormat,
    config: SearchConfig,
) -> tuple[StepSearchResult, Prefix, jax.Array]:
    """What a tree says at `node [B]`, which need not be its root; see `summarise`."""
    read = step_candidates if config.actions == "steps" else token_candidates
    return summarise(tree, node, read(tree, node), tokens, keys, form, config)


def draw(
    params: Params,
    keys: jax.Array,
    prompt_cache: KeyValues,
    prefix: Prefix,
    model: LanguageModel,
    form: StepFormat,
    config: SearchConfig,
) -> tuple[Prefix, jax.Array, jax.Array]:
    """One action drawn from the policy, without a search.

    Returns:
        The prefixes behind it, its tokens `[B, L]`, and how many `[B]` they are.
    """
    if config.actions == "steps":
        temperature, min_p = config.temperature, config.min_p
        after, step = draw_step(
            model, params, prompt_cache, prefix, keys, form, temperature, min_p=min_p
        )
        return after, step.tokens, step.length
    after, token = draw_token(model, params, prompt_cache, prefix, keys, form, config.temperature)
    return after, token[:, None], after.length - prefix.length


def num_decisions(form: StepFormat, config: SearchConfig) -> int:
    """Actions that write a whole solution."""
    return form.num_steps if config.actions == "steps" else form.max_length

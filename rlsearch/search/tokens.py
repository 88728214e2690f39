"""Tree search whose actions are single tokens: the whole vocabulary, or the K likeliest.

The textbook form, and the weaker teacher where compute is short: a solution of T tokens is T
decisions, and a simulation that starts far from the end never sees an outcome.

Letters: B roots, A actions of a node, T tokens of a solution, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import (
    Prefix,
    StepFormat,
    append_token,
    finished,
    next_token_log_probs,
)
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.search import mcts
from rlsearch.search.critic import Critic
from rlsearch.search.mcts import Tree
from rlsearch.search.summary import Candidates


class Node(NamedTuple):
    """What a tree keeps of each node."""

    prefix: Prefix
    action_tokens: jax.Array  # [B, A] int32, the token of each action
    memory: Any  # what the critic keeps of it
    read: jax.Array  # [B] int32, tokens that the critic read for it


class Shared(NamedTuple):
    """What all nodes of a root's tree have in common."""

    params: Params
    prompt_cache: KeyValues
    prompts: jax.Array  # [B, P]
    critic: Any  # what it keeps of the prompts


def search_tokens(
    params: Params,
    keys: jax.Array,
    prompts: jax.Array,
    prompt_cache: KeyValues,
    prefix: Prefix,
    model: LanguageModel,
    form: StepFormat,
    config: SearchConfig,
    critic: Critic,
) -> tuple[Tree, jax.Array]:
    """Searches from B partly written solutions, token by token; see `search_steps`."""
    actions = form.grammar.shape[1]
    if config.actions == "top_tokens":
        actions = min(config.num_candidates, actions)

    def expand(
        shared: Shared, prefix: Prefix, memory: Any, written: jax.Array
    ) -> tuple[jax.Array, jax.Array, Node]:
        log_probs = next_token_log_probs(model, shared.params, prefix, form)
        priors, tokens = jax.lax.top_k(log_probs, actions)
        value, memory, read = critic.read(
            model, shared.params, shared.prompts, prefix, form, shared.critic, memory
        )
        return priors, value, Node(prefix, tokens, memory, jnp.where(written, read, 0))

    def recurrent_fn(shared: Shared, key: Any, action: jax.Array, node: Node):
        del key
        token = jnp.take_along_axis(node.action_tokens, action[:, None], axis=1)[:, 0]
        after = append_token(model, shared.params, shared.prompt_cache, node.prefix, token, form)
        was_finished, is_finished = finished(node.prefix, form), finished(after, form)
        newly = is_finished & ~was_finished
        priors, value, child = expand(shared, after, node.memory, ~was_finished)
        output = mcts.recurrent_output(
            reward=jnp.where(newly, value, 0.0),
            discount=jnp.where(is_finished, 0.0, 1.0),
            prior_logits=priors,
            value=value,
        )
        return output, child

    shared = Shared(params, prompt_cache, prompts, critic.shared)
    priors, value, node = expand(shared, prefix, critic.memory, ~finished(prefix, form))
    root = mcts.root_output(prior_logits=priors, value=value, embedding=node)
    forbidden = priors <= mcts.FORBIDDEN / 2
    tree = mcts.run(root, recurrent_fn, shared, keys, config, invalid_actions=forbidden)
    return tree, (tree.parents >= 0).sum(axis=1)


def token_candidates(tree: Tree, node: jax.Array) -> Candidates:
    """The tokens that may be taken at `node [B]`."""
    rows = jnp.arange(node.shape[0])
    tokens = tree.embeddings.action_tokens[rows, node]
    return Candidates(
        tokens=tokens[:, :, None],
        lengths=jnp.ones_like(tokens),
        prior_log_probs=tree.children_prior_logits[rows, node],
        usable=tree.children_visits[rows, node] > 0,
    )

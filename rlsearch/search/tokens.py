"""Tree search whose actions are single tokens: the whole vocabulary, or the K likeliest.

The textbook form, and the weaker teacher where compute is short: a solution of T tokens is T
decisions, and a simulation that starts far from the end never sees an outcome.

Letters: B roots, A actions of a node, T tokens of a solution, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.draft import Draft, Line
from rlsearch.decoding.writer import Writer
from rlsearch.search import mcts
from rlsearch.search.mcts import Tree
from rlsearch.search.result import Candidates, Grown
from rlsearch.verifiers.base import Critic, Memory


class Node(NamedTuple):
    """The record that a tree keeps of each node."""

    line: Line
    action_tokens: jax.Array  # [B, A] int32, the token of each action
    memory: Any  # the critic's own, of the line
    read: jax.Array  # [B] int32, tokens that the critic read for it


def search_tokens(
    writer: Writer,
    critic: Critic,
    root: Draft,
    memory: Memory,
    keys: jax.Array,
    config: SearchConfig,
) -> Grown:
    """Grows a tree, token by token, from each of B half-written solutions; see `search_steps`."""
    actions = writer.policy.model.vocab_size
    if config.actions == "top_tokens":
        actions = min(config.num_candidates, actions)

    def expand(draft: Draft, own: Any, written: jax.Array) -> tuple[jax.Array, jax.Array, Node]:
        priors, tokens = jax.lax.top_k(writer.next_token_log_probs(draft), actions)
        value, kept, read = critic.read(writer, draft, memory._replace(own=own))
        return priors, value, Node(draft.line, tokens, kept.own, jnp.where(written, read, 0))

    def recurrent_fn(params: Any, key: Any, action: jax.Array, node: Node):
        del params, key
        token = jnp.take_along_axis(node.action_tokens, action[:, None], axis=1)[:, 0]
        before = root._replace(line=node.line)
        after = writer.append_token(before, token)
        was_finished, is_finished = writer.finished(before), writer.finished(after)
        newly = is_finished & ~was_finished
        priors, value, child = expand(after, node.memory, ~was_finished)
        output = mcts.recurrent_output(
            reward=jnp.where(newly, value, 0.0),
            discount=jnp.where(is_finished, 0.0, 1.0),
            prior_logits=priors,
            value=value,
        )
        return output, child

    priors, value, node = expand(root, memory.own, ~writer.finished(root))
    tree = mcts.run(
        mcts.root_output(prior_logits=priors, value=value, embedding=node),
        recurrent_fn,
        keys,
        config,
        invalid_actions=priors <= mcts.FORBIDDEN / 2,
    )
    return Grown(tree, (tree.parents >= 0).sum(axis=1))


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

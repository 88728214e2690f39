"""From a finished tree to a decision: the improved policy, the action, and where it leads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import Prefix, StepFormat, finished
from rlsearch.search import mcts
from rlsearch.search.mcts import Tree
from rlsearch.search.result import StepSearchResult


class Candidates(NamedTuple):
    """A node's actions, as tokens. A candidates, L tokens."""

    tokens: jax.Array  # [B, A, L] int32
    lengths: jax.Array  # [B, A] int32
    prior_log_probs: jax.Array  # [B, A] under the policy at temperature 1
    usable: jax.Array  # [B, A] bool, visited and no duplicate


def first_finished(tree: Tree, form: StepFormat) -> jax.Array:
    """`[B, N + 1]` bool, nodes in which a solution was finished, and not before them."""
    rows = jnp.arange(tree.parents.shape[0])[:, None]
    done = finished(tree.embeddings.prefix, form)
    return done & (tree.parents >= 0) & ~done[rows, tree.parents]


def outcomes(tree: Tree, form: StepFormat) -> jax.Array:
    """`[B, N + 1]` the value at which each finished node was judged; 0 for all others."""
    rows = jnp.arange(tree.parents.shape[0])[:, None]
    reward = tree.children_rewards[rows, tree.parents, tree.action_from_parent]
    ended = first_finished(tree, form)
    return jnp.where(ended, reward, 0.0)


def summarise(
    tree: Tree,
    node: jax.Array,
    candidates: Candidates,
    tokens: jax.Array,
    keys: jax.Array,
    form: StepFormat,
    config: SearchConfig,
) -> tuple[StepSearchResult, Prefix, jax.Array]:
    """Reads off a tree whose nodes have a `prefix` what to do at `node [B]`.

    The improved policy is pi' = softmax(log pi + sigma(Q)) over the usable candidates (Danihelka
    et al. 2022, eq. 11), or the visit counts under PUCT, times pi where the search itself gave all
    candidates equal priors. One right solution proves a candidate right, however many wrong ones
    were tried below it, so its Q is then 1 and not the mean.

    Args:
        candidates: those of `node`.
        tokens: `[B]` tokens that the policy evaluated.
        keys: `[B]` typed keys, consumed, for drawing the action.

    Returns:
        The result, the prefixes behind the action, and their nodes `[B]`. Where no candidate is
        usable they mean nothing.
    """
    rows = jnp.arange(node.shape[0])
    visits, usable = tree.children_visits[rows, node], candidates.usable
    depth = min(form.max_length, config.num_simulations)
    depth = min(form.num_steps, depth) if config.actions == "steps" else depth
    best = mcts.best_below(tree, outcomes(tree, form), depth)
    solved = usable & (mcts.children(tree, best, 0.0, node) == 1.0)
    values = jnp.where(usable, tree.qvalues(node), 0.0)
    values = jnp.where(solved, 1.0, values)
    scale = config.value_scale * (config.max_visit_init + visits.max(axis=1))
    if config.policy == "gumbel":
        logits = candidates.prior_log_probs + scale[:, None] * values
    else:
        logits = jnp.log(jnp.maximum(visits, 1.0))
        if config.actions == "steps":  # they were searched with equal priors: see `steps`
            logits += candidates.prior_log_probs
    logits = jnp.where(usable, logits, mcts.FORBIDDEN)
    action = jax.vmap(jax.random.categorical)(keys, logits)
    chosen = tree.children_index[rows, node, action]
    after = jax.tree.map(lambda x: x[rows, chosen], tree.embeddings.prefix)
    ends = mcts.children(tree, finished(tree.embeddings.prefix, form), False, node)
    result = StepSearchResult(
        action=action,
        improved_policy=jax.nn.softmax(logits),
        action_value=values[rows, action],
        root_value=tree.node_values[rows, node],
        visit_counts=visits,
        action_values=values,
        usable=usable,
        value_scale=scale,
        solved=solved,
        finished=ends,
        candidates=candidates.tokens,
        candidate_lengths=candidates.lengths,
        tokens=tokens,
        tree=tree,
    )
    return result, after, chosen

"""Decisions made of a finished tree: the improved policy, the action, and where it leads."""

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.search import mcts
from rlsearch.search.mcts import Tree
from rlsearch.search.result import Candidates, Decision, Grown


def first_finished(tree: Tree, format: SolutionFormat) -> jax.Array:
    """`[B, N + 1]` bool, nodes in which a solution was finished, and not before them."""
    rows = jnp.arange(tree.parents.shape[0])[:, None]
    done = tree.embeddings.line.finished(format)
    return done & (tree.parents >= 0) & ~done[rows, tree.parents]


def outcomes(tree: Tree, format: SolutionFormat) -> jax.Array:
    """`[B, N + 1]` the value at which each finished node was judged; 0 for all others."""
    rows = jnp.arange(tree.parents.shape[0])[:, None]
    reward = tree.children_rewards[rows, tree.parents, tree.action_from_parent]
    ended = first_finished(tree, format)
    return jnp.where(ended, reward, 0.0)


def summarise(
    grown: Grown,
    node: jax.Array,
    candidates: Candidates,
    keys: jax.Array,
    format: SolutionFormat,
    config: SearchConfig,
) -> Decision:
    """Reads off a tree the decision at `node [B]`.

    The improved policy is pi' = softmax(log pi + sigma(Q)) over the usable candidates (Danihelka
    et al. 2022, eq. 11), or the visit counts under PUCT, times pi where the search itself gave all
    candidates equal priors. One right solution proves a candidate right, however many wrong ones
    were tried below it, so its Q is then 1 and not the mean.

    Args:
        candidates: those of `node`.
        keys: `[B]` typed keys, consumed, for drawing the action.
    """
    tree, rows = grown.tree, jnp.arange(node.shape[0])
    visits, usable = tree.children_visits[rows, node], candidates.usable
    depth = min(format.max_length, config.num_simulations)
    depth = min(format.num_steps, depth) if config.actions == "steps" else depth
    best = mcts.best_below(tree, outcomes(tree, format), depth)
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
    return Decision(
        action=action,
        improved_policy=jax.nn.softmax(logits),
        action_value=values[rows, action],
        root_value=tree.node_values[rows, node],
        visit_counts=visits,
        action_values=values,
        value_scale=scale,
        solved=solved,
        finished=mcts.children(tree, tree.embeddings.line.finished(format), False, node),
        candidates=candidates,
        line=jax.tree.map(lambda x: x[rows, chosen], tree.embeddings.line),
        node=chosen,
        grown=grown,
    )

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


def path_sums(tree: Tree, each: jax.Array) -> jax.Array:
    """`[B, N + 1]` sums of `each [B, N + 1]` over the nodes on the way from the root to a node."""
    rows = jnp.arange(tree.parents.shape[0])[:, None]

    def above(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        total, ancestor = carry
        there = ancestor >= 0
        total += jnp.where(there, each[rows, ancestor], 0.0)
        return total, jnp.where(there, tree.parents[rows, ancestor], -1)

    start = each, tree.parents
    return jax.lax.while_loop(lambda carry: (carry[1] >= 0).any(), above, start)[0]


def drawn_weights(tree: Tree, node: jax.Array, candidates: Candidates) -> jax.Array:
    """`[B, K]` weights of the steps that were drawn at `node [B]` one after another and without
    replacement, by which a sum over them is an unbiased mean under the policy (Raj 1956).

    With p_j the probability with which step j is drawn alone, pi_j the policy's, and k steps:

        w_j = pi_j ((k - j) + (1 - p_1 - ... - p_(j - 1)) / p_j) / k
    """
    usable = candidates.usable
    drawn = jnp.exp(tree.children_prior_logits[jnp.arange(node.shape[0]), node])
    drawn = jnp.where(usable, drawn, 0.0)
    before = jnp.cumsum(drawn, axis=1) - drawn
    place = jnp.cumsum(usable, axis=1)
    number = jnp.maximum(usable.sum(axis=1, keepdims=True), 1)
    each = (number - place) + (1.0 - before) / jnp.maximum(drawn, 1e-30)
    return jnp.where(usable, jnp.exp(candidates.prior_log_probs) * each / number, 0.0)


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
    if config.policy == "draw":
        logits = jnp.log(jnp.maximum(drawn_weights(tree, node, candidates), 1e-30))
        scale = jnp.full_like(scale, config.tilt)
        logits += scale[:, None] * values
    elif config.policy == "gumbel":
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

"""Decisions made of a finished tree: the improved policy, the action, and where it leads."""

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.search import mcts
from rlsearch.search.mcts import TINY, Tree
from rlsearch.search.result import Candidates, Decision, Grown

HALVINGS = 40  # of an interval of about 1: to the last bit of a float32


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


def sums_below(tree: Tree, each: jax.Array, depth: int) -> jax.Array:
    """`[B, N + 1]` sums of `each [B, N + 1]` over nodes and all those below them.

    Args:
        each: 0 in places without a node.
        depth: most steps of a solution, by which nodes are ordered; static.
    """
    rows, steps = jnp.arange(each.shape[0])[:, None], tree.embeddings.line.num_steps
    above = jnp.maximum(tree.parents, 0)
    for level in range(depth, 0, -1):
        here = (steps == level) & (tree.parents >= 0)
        each = each.at[rows, above].add(jnp.where(here, each, 0.0))
    return each


def drawn_weights(tree: Tree, node: jax.Array, candidates: Candidates) -> jax.Array:
    """`[B, K]` weights of the steps that were drawn at `node [B]` one after another and without
    replacement, by which a sum over them is an unbiased mean under the policy (Raj 1956).

    With p_j the probability with which step j is drawn alone, pi_j the policy's, and k steps:

        w_j = pi_j ((k - j) + (1 - p_1 - ... - p_(j - 1)) / p_j) / k

    Where k depends on what was drawn, such means are unbiased together: weighed by k.
    """
    usable = candidates.usable
    drawn = jnp.exp(tree.children_prior_logits[jnp.arange(node.shape[0]), node])
    drawn = jnp.where(usable, drawn, 0.0)
    before = jnp.cumsum(drawn, axis=1) - drawn
    place = jnp.cumsum(usable, axis=1)
    number = jnp.maximum(usable.sum(axis=1, keepdims=True), 1)
    each = (number - place) + (1.0 - before) / jnp.maximum(drawn, TINY)
    return jnp.where(usable, jnp.exp(candidates.prior_log_probs) * each / number, 0.0)


def regularised(prior: jax.Array, values: jax.Array, weight: jax.Array) -> jax.Array:
    """`[B, K]` the policy that PUCT's visits follow: of Q(c) pi'(c) - weight KL[pi, pi'] the best
    (Grill et al. 2020, eq. 7 and proposition 4), so that it needs no count of visits.

        pi'(c) = weight pi(c) / (alpha - Q(c)), with alpha such that it sums to 1

    Args:
        prior: pi `[B, K]`, which sums to 1.
        values: Q `[B, K]`.
        weight: `[B]`, positive.
    """
    share, there = weight[:, None] * prior, prior > 0
    low = jnp.where(there, values + share, -jnp.inf).max(axis=1, keepdims=True)
    high = jnp.where(there, values, -jnp.inf).max(axis=1, keepdims=True) + weight[:, None]

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        above = jnp.where(there, share / (middle - values), 0.0).sum(axis=1, keepdims=True) > 1.0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    policy = jnp.where(there, share / (high - values), 0.0)
    return policy / jnp.maximum(policy.sum(axis=1, keepdims=True), TINY)


def improved(
    tree: Tree, node: jax.Array, candidates: Candidates, values: jax.Array, config: SearchConfig
) -> tuple[jax.Array, jax.Array]:
    """Logits `[B, K]` of the improved policy at `node [B]`, and `[B]` what a difference of 1 in Q
    adds to them.

        softmax(log w + scale Q)      Danihelka et al. 2022, eq. 11; where the search draws the
                                      scale is its tilt
        `regularised`, or the visits  PUCT of steps; of tokens

    w is the policy, and of steps `drawn_weights`: with a constant Q the improved policy is then in
    the mean the policy, for all that the search found of it.

    Args:
        values: Q of the candidates `[B, K]`.
    """
    visits = tree.children_visits[jnp.arange(node.shape[0]), node]
    weights, usable = jnp.exp(candidates.prior_log_probs), candidates.usable
    if config.actions == "steps":
        weights = drawn_weights(tree, node, candidates)
    total, none = visits.sum(axis=1), jnp.zeros(node.shape)
    if config.policy == "puct" and config.actions == "steps":
        weight = config.puct_constant * jnp.sqrt(total) / (visits.shape[1] + total)
        prior = weights / jnp.maximum(weights.sum(axis=1, keepdims=True), TINY)
        weights, scale = regularised(prior, values, jnp.maximum(weight, TINY)), none
    elif config.policy == "puct":
        weights, scale = visits.astype(jnp.float32), none
    elif config.policy == "draw":
        scale = none + config.tilt
    else:
        scale = config.value_scale * (config.max_visit_init + visits.max(axis=1))
    logits = jnp.log(jnp.maximum(weights, TINY)) + scale[:, None] * values
    return jnp.where(usable, logits, mcts.FORBIDDEN), scale


def summarise(
    grown: Grown,
    node: jax.Array,
    candidates: Candidates,
    keys: jax.Array,
    format: SolutionFormat,
    config: SearchConfig,
) -> Decision:
    """Reads off a tree the decision at `node [B]`: an action drawn from the `improved` policy.

    One right solution proves a candidate right, however many wrong ones were tried below it, so its
    Q is then 1 and not the mean.

    Args:
        candidates: those of `node`.
        keys: `[B]` typed keys, consumed, for drawing the action.
    """
    tree, rows = grown.tree, jnp.arange(node.shape[0])
    usable = candidates.usable
    depth = min(format.max_length, config.num_simulations)
    depth = min(format.num_steps, depth) if config.actions == "steps" else depth
    best = mcts.best_below(tree, outcomes(tree, format), depth)
    solved = usable & (mcts.children(tree, best, 0.0, node) == 1.0)
    values = jnp.where(usable, tree.qvalues(node), 0.0)
    values = jnp.where(solved, 1.0, values)
    logits, scale = improved(tree, node, candidates, values, config)
    action = jax.vmap(jax.random.categorical)(keys, logits)
    chosen = tree.children_index[rows, node, action]
    return Decision(
        action=action,
        improved_policy=jax.nn.softmax(logits),
        action_value=values[rows, action],
        root_value=tree.node_values[rows, node],
        visit_counts=tree.children_visits[rows, node],
        action_values=values,
        value_scale=scale,
        solved=solved,
        finished=mcts.children(tree, tree.embeddings.line.finished(format), False, node),
        candidates=candidates,
        line=jax.tree.map(lambda x: x[rows, chosen], tree.embeddings.line),
        node=chosen,
        grown=grown,
    )

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
    """The root's actions, as tokens. A candidates, L tokens."""

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
    candidates: Candidates,
    tokens: jax.Array,
    keys: jax.Array,
    form: StepFormat,
    config: SearchConfig,
) -> tuple[StepSearchResult, Prefix]:
    """Reads the result off a tree whose nodes have a `prefix`.

    The improved policy is pi' = softmax(log pi + sigma(Q)) over the usable candidates (Danihelka
    et al. 2022, eq. 11), or the visit counts under PUCT, times pi where the search itself gave all
    candidates equal priors. One right solution proves a candidate right, however many wrong ones
    were tried below it, so its Q is then 1 and not the mean.

    Args:
        tokens: `[B]` tokens that the policy evaluated.
        keys: `[B]` typed keys for drawing the action.
    """
    rows = jnp.arange(tree.parents.shape[0])
    visits, usable = tree.children_visits[:, 0], candidates.usable
    depth = min(form.max_length, config.num_simulations)
    depth = min(form.num_steps, depth) if config.actions == "steps" else depth
    best = mcts.children(tree, mcts.best_below(tree, outcomes(tree, form), depth), 0.0)
    solved = usable & (best == 1.0)
    values = jnp.where(usable, tree.qvalues(jnp.zeros_like(rows)), 0.0)
    values = jnp.where(solved, 1.0, values)
    scale = config.value_scale * (config.max_visit_init + visits.max(axis=1))
    if config.policy == "gumbel":
        logits = candidates.prior_log_probs + scale[:, None] * values
    else:
        logits = jnp.log(jnp.maximum(visits, 1.0))
        if config.actions == "steps":  # they were searched with equal priors: see `steps`
            logits += candidates.prior_log_probs
    logits = jnp.where(usable, logits, mcts.FORBIDDEN)
    action = jax.vmap(lambda key, x: jax.random.categorical(jax.random.fold_in(key, 1), x))(
        keys, logits
    )
    chosen = tree.children_index[rows, 0, action]
    after = jax.tree.map(lambda x: x[rows, chosen], tree.embeddings.prefix)
    ends = mcts.children(tree, finished(tree.embeddings.prefix, form), False)
    result = StepSearchResult(
        action=action,
        improved_policy=jax.nn.softmax(logits),
        action_value=values[rows, action],
        root_value=tree.node_values[:, 0],
        visit_counts=visits,
        action_values=values,
        value_scale=scale,
        solved=solved,
        finished=ends,
        candidates=candidates.tokens,
        candidate_lengths=candidates.lengths,
        tokens=tokens,
        tree=tree,
    )
    return result, after

"""Targets that use what a tree of whole solutions holds: one path down it, and what lies beside.

A row is the way to one leaf of a tree: to a right one, drawn by a power of its probability. With
power 0 each is as likely, so that over time all different solutions are learnt and not the
likeliest alone; with power 1 they are drawn as the policy writes them, which fits text, where
different solutions are often one in other words. Where none is right, it is the way to the wrong
one that the policy's own critic believes most, which teaches that most. At each step of it M
candidates stand side by side: the step that was taken, and of its siblings first those with right
solutions below them, then those most believed.

    policy   of each candidate the policy's probability of the right solutions below it, shared
             among the candidates: the policy given that it comes out right
    value    of a candidate whether a right solution was found below it. That none was is worth
             n / (n + 1) where n simulations went on from it. A sibling weighs half.

Letters: B problems, N nodes of a tree beside the root, S steps, K children of a node, M candidates
of a step, L tokens of a step.
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.writer import Writer
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.search.mcts import Tree
from rlsearch.search.summary import first_finished, outcomes, path_sums, sums_below

SIBLING_WEIGHT = 0.5  # of a sibling for the value, where the step that was taken has 1


def path_targets(
    writer: Writer,
    prompts: jax.Array,
    tree: Tree,
    keys: jax.Array,
    number: int,
    likelihood: float = 0.0,
) -> tuple[StepTargets, jax.Array]:
    """A row of M = `number` candidates a step for each tree.

    Args:
        prompts: `[B, P]` int32.
        tree: grown with the checker as critic.
        keys: `[B]` typed keys, consumed, for drawing the leaf.
        likelihood: the power of a right leaf's probability by which it is drawn.

    Returns:
        The rows `[B]`, of which those of trees without a leaf weigh nothing, and `[B]` int32, how
        many right leaves a tree has.
    """
    format, rows = writer.format, jnp.arange(prompts.shape[0])
    done = first_finished(tree, format)
    right = done & (outcomes(tree, format) == 1.0)
    believed = writer.policy.model.value(writer.params, tree.embeddings.line.hidden)
    log_probs = path_sums(tree, tree.embeddings.step.prior_log_prob)
    drawn = drawn_of(right, likelihood * log_probs, keys)
    leaf = jnp.where(right.any(axis=1), drawn, jnp.argmax(jnp.where(done, believed, -1.0), axis=1))
    mass = sums_below(tree, jnp.where(right, jnp.exp(log_probs), 0.0), format.num_steps)

    path = way(tree, leaf, format.num_steps)  # [B, S]
    present = (path > 0) & done[rows, leaf][:, None]
    nodes = family(tree, path, jnp.where(mass > 0, 1.0 + mass, 0.0) + believed, number)
    there = (nodes >= 0) & present[:, :, None]

    def read(x: jax.Array) -> jax.Array:
        return x[rows[:, None, None], jnp.maximum(nodes, 0)]

    below = jnp.where(there, read(mass), 0.0)
    total = below.sum(axis=2, keepdims=True)
    visits = read(tree.node_visits)
    trust = jnp.where(read(done) | (below > 0), 1.0, visits / (visits + 1.0))
    trust *= jnp.where(jnp.arange(number) == 0, 1.0, SIBLING_WEIGHT)
    steps = jnp.where(there[..., None], read(tree.embeddings.step.tokens), format.pad)
    solved, of_root = right.any(axis=1), tree.node_visits[:, 0]
    doubt = jnp.where(done.any(axis=1), of_root / (of_root + 1.0), 0.0)
    return StepTargets(
        prompts=prompts,
        steps=steps,
        weights=jnp.where(total > 0, below / jnp.where(total > 0, total, 1.0), 0.0),
        values=(below > 0).astype(jnp.float32),
        value_weights=jnp.where(there, trust, 0.0),
        prompt_values=solved.astype(jnp.float32),
        prompt_value_weights=jnp.where(solved, 1.0, doubt),
        counted=jnp.ones(steps.shape, bool),
    ), right.sum(axis=1)


def drawn_of(there: jax.Array, log_weights: jax.Array, keys: jax.Array) -> jax.Array:
    """`[B]` int32: for each row one of those places that are `there [B, N]`, drawn by weight.

    Args:
        log_weights: `[B, N]`, up to a constant a row.
        keys: `[B]` typed keys, consumed.
    """
    lots = jax.vmap(lambda key: jax.random.uniform(key, there.shape[1:]))(keys)
    gumbel = -jnp.log(-jnp.log(lots))
    return jnp.argmax(jnp.where(there, jnp.maximum(gumbel + log_weights, -1e30), -jnp.inf), axis=1)


def way(tree: Tree, leaf: jax.Array, num_steps: int) -> jax.Array:
    """`[B, S]` int32, the nodes from the root to `leaf [B]`; zeros stand behind the last."""
    rows, depth = jnp.arange(leaf.shape[0]), tree.embeddings.line.num_steps

    def up(node: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        place = jnp.where(node > 0, depth[rows, node], 0)
        return jnp.where(node > 0, tree.parents[rows, node], 0), (node, place)

    _, (nodes, places) = jax.lax.scan(up, leaf, None, num_steps)
    # The node of step s has s + 1 steps behind it.
    at = jax.nn.one_hot(places - 1, num_steps, axis=0, dtype=jnp.int32)  # [S, S of the way, B]
    return (at * nodes).max(axis=1).T


def family(tree: Tree, nodes: jax.Array, rank: jax.Array, number: int) -> jax.Array:
    """`[B, S, M]` int32: each of `nodes [B, S]` in front of its siblings, the best by `rank
    [B, N + 1]` first; -1 where there are no more."""
    rows = jnp.arange(nodes.shape[0])[:, None]
    children = tree.children_index[rows, jnp.maximum(tree.parents[rows, nodes], 0)]  # [B, S, K]
    ranks = jnp.where(children >= 0, rank[rows[:, :, None], children], -1.0)
    ranks = jnp.where(children == nodes[:, :, None], jnp.inf, ranks)
    best, places = jax.lax.top_k(ranks, min(number, ranks.shape[2]))
    found = jnp.take_along_axis(children, places, axis=2)
    found = jnp.where(best >= 0, found, -1)
    missing = number - found.shape[2]
    return jnp.pad(found, ((0, 0), (0, 0), (0, missing)), constant_values=-1)

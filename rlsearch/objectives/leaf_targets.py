"""Targets that use what a tree of whole solutions holds: several of its leaves, right and wrong.

A row is one leaf with the steps that led to it (M = 1). Of a problem there are R of them, the right
ones first, and then the wrong ones that the policy's own critic believes most: those teach it most.

    policy   the right leaves that are learnt share a weight of 1, each by the policy's own
             probability of it: the policy given that it comes out right
    value    of a node on the way: the mean of the leaves below it, weighed by n / (n + 1) of their
             number n; of a leaf: whether it is right

Letters: B problems, N nodes of a tree beside the root, R leaves, S steps, L tokens of a step, T of
a solution.
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.step_targets import StepTargets, written
from rlsearch.search.mcts import FORBIDDEN, Tree
from rlsearch.search.summary import first_finished, outcomes, path_sums


def leaf_targets(
    writer: Writer, prompts: jax.Array, tree: Tree, number: int
) -> tuple[list[StepTargets], jax.Array]:
    """The rows of R = `number` leaves of each tree, a list of `[B]` rows.

    Args:
        prompts: `[B, P]` int32.
        tree: grown with the checker as critic.

    Returns:
        The rows, of which those of trees with fewer leaves weigh nothing, and `[B]` int32, how many
        right leaves a tree has.
    """
    format, rows = writer.format, jnp.arange(prompts.shape[0])
    done = first_finished(tree, format)
    right = done & (outcomes(tree, format) == 1.0)
    believed = writer.policy.model.value(writer.params, tree.embeddings.line.hidden)
    rank = jnp.where(done, believed + 2.0 * right, -1.0)
    best, leaves = jax.lax.top_k(rank, number)
    taught = right[rows[:, None], leaves] & (best >= 0)
    log_probs = path_sums(tree, tree.embeddings.step.prior_log_prob)[rows[:, None], leaves]
    share = jax.nn.softmax(jnp.where(taught, log_probs, FORBIDDEN), axis=1)
    each = [
        _row(writer, prompts, tree, leaves[:, r], (best[:, r] >= 0, right[rows, leaves[:, r]]))
        for r in range(number)
    ]
    known = [
        row._replace(weights=row.weights * share[:, r, None, None]) for r, row in enumerate(each)
    ]
    trust = jnp.where(done.any(axis=1), _trust(tree.node_visits[:, 0]), 0.0)
    known[0] = known[0]._replace(prompt_value_weights=trust)
    return known, right.sum(axis=1)


def _row(
    writer: Writer,
    prompts: jax.Array,
    tree: Tree,
    leaf: jax.Array,
    kind: tuple[jax.Array, jax.Array],
) -> StepTargets:
    """The row of one leaf `[B]` of each tree, which is there and right as `kind` says."""
    format, rows, (there, right) = writer.format, jnp.arange(leaf.shape[0]), kind
    steps = split_steps(tree.embeddings.line.tokens[rows, leaf], format)[:, :, None]
    steps = jnp.where(there[:, None, None, None], steps, format.pad)
    present = written(steps, format.pad)
    number = tree.embeddings.line.num_steps

    def up(node: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        place = jnp.maximum(node, 0)
        told = number[rows, place], tree.node_values[rows, place], tree.node_visits[rows, place]
        return jnp.where(node > 0, tree.parents[rows, place], 0), told

    _, (depth, value, visits) = jax.lax.scan(up, leaf, None, format.num_steps)
    # The node of step s has s + 1 steps behind it.
    at = jax.nn.one_hot(depth - 1, format.num_steps, axis=0)  # [S, S of the way, B]
    values = (at * value).max(axis=1).T
    counts = (at * visits).max(axis=1).T
    last = jnp.arange(format.num_steps) == present[:, :, 0].sum(axis=1, keepdims=True) - 1
    trust = jnp.where(last, 1.0, _trust(counts))
    return StepTargets(
        prompts=prompts,
        steps=steps,
        weights=present * right[:, None, None],
        values=values[:, :, None] * present,
        value_weights=present * trust[:, :, None],
        prompt_values=tree.node_values[:, 0],
        prompt_value_weights=jnp.zeros(leaf.shape),
        counted=jnp.ones((*present.shape, format.max_step_length), bool),
    )


def _trust(visits: jax.Array) -> jax.Array:
    """The weight of a mean of so many."""
    return visits / (visits + 1.0)

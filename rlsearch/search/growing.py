"""Trees of steps in the making: their nodes, what is counted of them, and how they grow.

Every node counts the simulations that were told at it or below it, and the sum of their values; its
value is their mean. What is left of a node is the share of its probability that no finished
solution below it has: 1 for a new node, 0 for a finished one, and between the two

    left(node) = new(node) + sum over its open children c of pi(c) left(c)

where `new` is the probability of the steps that were not drawn there yet, 0 if none can be. A node
with next to nothing left is closed: it is finished or exhausted, its value is exact, and nothing is
looked for below it any more.

Letters: B roots, K children of a node, N nodes beside the root, L tokens of a step.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Line, Step
from rlsearch.search import mcts
from rlsearch.search.mcts import Tree

LEAST = 1e-3  # of a node's probability: with less left, nothing new is looked for below it
NOWHERE = -1


class Node(NamedTuple):
    """The record that a tree keeps of each node."""

    line: Line
    step: Step  # the step that led here
    memory: Any  # the critic's own, of the line
    read: jax.Array  # [B] int32, tokens that the critic read for it


class Judged(NamedTuple):
    """The facts about new nodes `[B]` that are not in their text."""

    value: jax.Array  # float32, the critic's
    finished: jax.Array  # bool


class Counts(NamedTuple):
    """Facts about the nodes of a tree beside their text, leaves `[B, N + 1]`; 0 is the root."""

    parents: jax.Array  # int32
    children: jax.Array  # [B, N + 1, K] int32, in the order they were drawn; NOWHERE: none
    number: jax.Array  # int32, children of a node
    share: jax.Array  # float32, probability of the step that led here, as it is drawn
    left: jax.Array  # float32, share of a node's probability that no finished solution has
    dry: jax.Array  # bool, no other step can be drawn there
    finished: jax.Array  # bool
    raw_values: jax.Array  # float32, the critic's of the node itself
    sums: jax.Array  # float32, of the values told here and below
    visits: jax.Array  # int32, their number

    @property
    def values(self) -> jax.Array:
        """Mean values told at nodes and below them; their own where there is none yet."""
        means = self.sums / jnp.maximum(self.visits, 1)
        return jnp.where(self.visits > 0, means, self.raw_values)


class Growing(NamedTuple):
    """Trees in the making."""

    nodes: Node  # leaves [B, N + 1, ...]
    counts: Counts
    size: jax.Array  # [B] int32, nodes beside the root
    at: jax.Array  # [B] int32, node that is written on; NOWHERE: the next simulation begins
    spent: jax.Array  # [B] bool, the next simulation cannot be paid for
    tokens: jax.Array  # [B] int32, evaluated by the policy
    turn: jax.Array  # [] int32


def seedling(root: Node, judged: Judged, nodes: int, width: int) -> Growing:
    """Trees of a root alone, with room for so many nodes, of so many children each."""
    (batch,) = judged.value.shape

    def room(x: jax.Array) -> jax.Array:
        return jnp.zeros((batch, nodes + 1, *x.shape[1:]), x.dtype).at[:, 0].set(x)

    zeros, none = room(jnp.zeros((batch,), jnp.int32)), room(jnp.zeros((batch,)))
    counts = Counts(
        parents=zeros + NOWHERE,
        children=jnp.full((batch, nodes + 1, width), NOWHERE, jnp.int32),
        number=zeros,
        share=none,
        left=room(jnp.where(judged.finished, 0.0, 1.0)),
        dry=zeros > 0,
        finished=room(judged.finished),
        raw_values=room(judged.value),
        sums=none,
        visits=zeros,
    )
    at, no = jnp.full((batch,), NOWHERE, jnp.int32), jnp.zeros((batch,), bool)
    start = zeros[:, 0]
    return Growing(jax.tree.map(room, root), counts, start, at, no, start, jnp.int32(0))


def put(place: jax.Array, old: jax.Array, new: jax.Array) -> jax.Array:
    """Writes `new [B, ...]` into `old [B, N + 1, ...]` at `place [B]`; behind the end: nowhere."""
    return old.at[jnp.arange(place.shape[0]), place].set(new, mode="drop")


def unseen(counts: Counts, node: jax.Array) -> jax.Array:
    """`[B]` the probability of the steps that were not drawn at `node [B]` yet; 0 where none can
    be drawn any more, or next to none is left."""
    rows, width = jnp.arange(node.shape[0]), counts.children.shape[2]
    children = counts.children[rows, node]
    drawn = jnp.where(children >= 0, counts.share[rows[:, None], children], 0.0).sum(axis=1)
    shut = counts.dry[rows, node] | (counts.number[rows, node] >= width) | (1.0 - drawn < LEAST)
    return jnp.where(shut, 0.0, 1.0 - drawn)


def open_shares(counts: Counts, node: jax.Array) -> jax.Array:
    """`[B, K]` the probability of each child of `node [B]` that is left; 0 for closed ones."""
    rows = jnp.arange(node.shape[0])
    children = counts.children[rows, node]
    left = counts.left[rows[:, None], children]
    is_open = (children >= 0) & (left >= LEAST)
    return jnp.where(is_open, counts.share[rows[:, None], children] * left, 0.0)


def added(counts: Counts, at: jax.Array, place: jax.Array, child: Node, judged: Judged) -> Counts:
    """Adds a child of the nodes `at [B]`, in `place [B]`; behind the last place: none."""
    rows, write = jnp.arange(at.shape[0]), functools.partial(put, place)
    made = place < counts.parents.shape[1]
    slot = jnp.where(made, counts.number[rows, at], counts.children.shape[2])
    return counts._replace(
        parents=write(counts.parents, at),
        children=counts.children.at[rows, at, slot].set(place, mode="drop"),
        number=counts.number.at[rows, at].add(made),
        share=write(counts.share, jnp.exp(child.step.draw_log_probs.sum(axis=1))),
        left=write(counts.left, jnp.where(judged.finished, 0.0, 1.0)),
        finished=write(counts.finished, judged.finished),
        raw_values=write(counts.raw_values, judged.value),
    )


def passed_up(counts: Counts, newest: jax.Array, happened: jax.Array, told: jax.Array) -> Counts:
    """Tells all above the nodes `newest [B]` what happened there, where something `happened [B]`.

    Args:
        told: `[B]` bool, a simulation ends there: the critic's value of `newest` counts once for
            it and for each node above it. In any case what is left of them is counted again.
    """
    rows, told = jnp.arange(newest.shape[0]), told & happened
    value = jnp.where(told, counts.raw_values[rows, newest], 0.0)

    def up(carry: tuple[Counts, jax.Array]) -> tuple[Counts, jax.Array]:
        counts, node = carry
        there, place = node >= 0, jnp.maximum(node, 0)
        left = unseen(counts, place) + open_shares(counts, place).sum(axis=1)
        inner = there & ~counts.finished[rows, place]
        left = jnp.where(inner, left, counts.left[rows, place])
        counts = counts._replace(
            left=counts.left.at[rows, place].set(left),
            sums=counts.sums.at[rows, place].add(jnp.where(there, value, 0.0)),
            visits=counts.visits.at[rows, place].add(there & told),
        )
        return counts, jnp.where(there, counts.parents[rows, place], NOWHERE)

    start = counts, jnp.where(happened, newest, NOWHERE)
    return jax.lax.while_loop(lambda carry: (carry[1] >= 0).any(), up, start)[0]


def as_mctx(tree: Growing) -> Tree:
    """The trees in mctx's form. A finished solution is a reward, and nothing lies behind it."""
    counts, rows = tree.counts, jnp.arange(tree.size.shape[0])
    there = counts.children >= 0
    below = jnp.maximum(counts.children, 0)

    def of_children(x: jax.Array, missing: float) -> jax.Array:
        return jnp.where(there, x[rows[:, None, None], below], missing)

    ended = of_children(counts.finished, False) > 0
    slots = jnp.arange(counts.children.shape[2])
    own = counts.children[rows[:, None], jnp.maximum(counts.parents, 0)]
    places = jnp.arange(counts.parents.shape[1])
    action = jnp.where(own == places[None, :, None], slots, 0).sum(axis=2)
    values = of_children(counts.values, 0.0)
    # A child below which nothing was told yet was drawn all the same: it has one visit at least.
    visits = jnp.where(there, jnp.maximum(of_children(counts.visits, 0), 1), 0).astype(jnp.int32)
    return mcts.tree(
        node_visits=jnp.maximum(counts.visits, 1),
        raw_values=counts.raw_values,
        node_values=counts.values,
        parents=counts.parents,
        action_from_parent=jnp.where(counts.parents >= 0, action, NOWHERE),
        children_index=counts.children,
        children_prior_logits=jnp.where(there, jnp.log(of_children(counts.share, 1.0)), 0.0),
        children_visits=visits,
        children_rewards=jnp.where(ended, values, 0.0),
        children_discounts=jnp.where(there & ~ended, 1.0, 0.0),
        children_values=jnp.where(ended, 0.0, values),
        embeddings=tree.nodes,
        root_invalid_actions=jnp.zeros((rows.size, slots.size)),
        extra_data=None,
    )

"""A tree that draws: whole solutions sampled without replacement, tilted by what the tree knows.

A simulation goes down from the root by drawing, among the children of a node and the steps that it
has not drawn yet; where it draws a new step it writes on to the end, and every step on the way
becomes a node. A finished solution is valued once, when it is written, and is never drawn again.

    child   log pi(c) + log(what is left below c) + beta (Q(c) - V(node)) n(c) / (n(c) + 1)
    new     log(1 - sum of pi over the children)

What is left below a node is the share of its probability that no finished solution has: 1 for a
new node and 0 for a finished one, and for one in between `new + sum_c pi(c) left(c)`. So with
beta = 0 whole solutions are drawn from the policy without replacement (UniqueRandomizer, Shi et al.
2020). A node with next to nothing left is closed. Values of inner nodes are means over the finished
solutions below them, so that a node's own critic has no say in the draws.

All roots write one step a turn, so that a turn costs what a simulation of the other searches costs;
a root is decided when it is closed, or when its tokens or its nodes are used up.

Letters: B roots, K children of a node, N nodes beside the root, L tokens of a step.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.draft import Draft, Siblings
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.search import mcts
from rlsearch.search.mcts import Tree
from rlsearch.search.result import Grown
from rlsearch.search.steps import Node, no_step
from rlsearch.verifiers.base import Critic, Memory

LEAST = 1e-3  # of a node's probability: with less left, nothing new is looked for below it
NOWHERE = -1
TINY = 1e-30  # of a probability, which needs a logarithm
NEVER = 2 * mcts.FORBIDDEN  # a logit; a sum of others never comes near


class Counts(NamedTuple):
    """Facts about the nodes of a tree beside their text, leaves `[B, N + 1]`; 0 is the root."""

    parents: jax.Array  # int32
    children: jax.Array  # [B, N + 1, K] int32, NOWHERE where there is none
    number: jax.Array  # int32, children of a node
    share: jax.Array  # float32, probability of the step that led here, as it is drawn
    left: jax.Array  # float32, share of a node's probability that no finished solution has
    dry: jax.Array  # bool, no other step can be drawn there
    raw_values: jax.Array  # float32, the critic's of the node itself
    sums: jax.Array  # float32, of the values of the finished solutions below, itself included
    visits: jax.Array  # int32, their number

    @property
    def values(self) -> jax.Array:
        """Mean values of the finished solutions below nodes; their own where there is none yet."""
        means = self.sums / jnp.maximum(self.visits, 1)
        return jnp.where(self.visits > 0, means, self.raw_values)


class Growing(NamedTuple):
    """Trees in the making."""

    nodes: Node  # leaves [B, N + 1, ...]
    counts: Counts
    size: jax.Array  # [B] int32, nodes beside the root
    at: jax.Array  # [B] int32, node that is written on; NOWHERE: the next simulation begins
    spent: jax.Array  # [B] bool, the next solution cannot be paid for
    tokens: jax.Array  # [B] int32, evaluated by the policy
    turn: jax.Array  # [] int32


def search_draws(
    writer: Writer,
    critic: Critic,
    root: Draft,
    memory: Memory,
    keys: jax.Array,
    config: SearchConfig,
) -> Grown:
    """Grows a tree from each of B half-written solutions; see `rlsearch.search.search`."""
    format, sampling = writer.format, Sampling(config.temperature, config.min_p)
    rows, nodes = jnp.arange(keys.shape[0]), config.num_simulations
    limit = config.max_tokens or nodes * format.max_step_length

    def open_roots(tree: Growing) -> jax.Array:
        """`[B]` bool, the roots that are not decided."""
        ended = tree.spent | (tree.counts.left[:, 0] < LEAST)
        return (tree.size < nodes) & ((tree.at != NOWHERE) | ~ended)

    def write(tree: Growing) -> Growing:
        """Draws where to write, writes one step there, and makes a node of it."""
        going_on, began = open_roots(tree), tree.at == NOWHERE
        turn_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, tree.turn)
        descent_keys, step_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(turn_keys)
        at = jnp.where(began, descend(tree.counts, descent_keys, config.tilt), tree.at)
        node = jax.tree.map(lambda x: x[rows, at], tree.nodes)
        # A solution is begun if it can be ended.
        rest = format.max_length - node.line.length
        spent = tree.spent | (going_on & began & (tree.tokens + rest > limit))
        going_on &= ~(began & spent)
        children = tree.counts.children[rows, at]
        siblings = Siblings(
            tokens=tree.nodes.step.tokens[rows[:, None], children],
            draw_log_probs=tree.nodes.step.draw_log_probs[rows[:, None], children],
            present=children >= 0,
        )
        before = root._replace(line=node.line)
        after, step = writer.step(before, step_keys, sampling, siblings)
        value, kept, read = critic.read(writer, after, memory._replace(own=node.memory))
        made, finished = going_on & ~step.duplicate, writer.finished(after)
        place = jnp.where(made, tree.size + 1, nodes + 1)  # where nothing was made: behind all
        child = Node(after.line, step, place, kept.own, read)
        dry = tree.counts.dry.at[rows, at].max(going_on & step.duplicate)
        counts = added(tree.counts._replace(dry=dry), at, place, child, (value, finished))
        return Growing(
            nodes=jax.tree.map(functools.partial(_put, rows, place), tree.nodes, child),
            counts=passed_up(counts, jnp.where(made, place, at), going_on),
            size=tree.size + made,
            at=jnp.where(made & ~finished, place, NOWHERE),
            spent=spent,
            tokens=tree.tokens + jnp.where(going_on, step.length, 0),
            turn=tree.turn + 1,
        )

    value, kept, read = critic.read(writer, root, memory)
    done = writer.finished(root)
    read = jnp.where(done, 0, read)
    first = Node(root.line, no_step(rows.size, format), jnp.zeros_like(rows), kept.own, read)
    start = seedling(first, value, done, nodes, config.num_candidates)
    tree = jax.lax.while_loop(lambda tree: open_roots(tree).any(), write, start)
    return Grown(as_mctx(tree), tree.tokens)


def _put(rows: jax.Array, place: jax.Array, old: jax.Array, new: jax.Array) -> jax.Array:
    return old.at[rows, place].set(new, mode="drop")


def seedling(root: Node, value: jax.Array, finished: jax.Array, nodes: int, width: int) -> Growing:
    """Trees of a root alone, with room for so many nodes, of so many children each."""
    (batch,) = value.shape

    def room(x: jax.Array) -> jax.Array:
        return jnp.zeros((batch, nodes + 1, *x.shape[1:]), x.dtype).at[:, 0].set(x)

    zeros, none = room(jnp.zeros((batch,), jnp.int32)), room(jnp.zeros((batch,)))
    counts = Counts(
        parents=zeros + NOWHERE,
        children=jnp.full((batch, nodes + 1, width), NOWHERE, jnp.int32),
        number=zeros,
        share=none,
        left=room(jnp.where(finished, 0.0, 1.0)),
        dry=zeros > 0,
        raw_values=room(value),
        sums=none,
        visits=zeros,
    )
    at, no = jnp.full((batch,), NOWHERE, jnp.int32), jnp.zeros((batch,), bool)
    start = zeros[:, 0]
    return Growing(jax.tree.map(room, root), counts, start, at, no, start, jnp.int32(0))


def unseen(counts: Counts, node: jax.Array) -> jax.Array:
    """`[B]` the probability of the steps that were not drawn at `node [B]` yet; 0 where none can
    be drawn any more."""
    rows, width = jnp.arange(node.shape[0]), counts.children.shape[2]
    children = counts.children[rows, node]
    drawn = jnp.where(children >= 0, counts.share[rows[:, None], children], 0.0).sum(axis=1)
    shut = counts.dry[rows, node] | (counts.number[rows, node] >= width)
    return jnp.where(shut, 0.0, jnp.maximum(1.0 - drawn, 0.0))


def open_shares(counts: Counts, node: jax.Array) -> jax.Array:
    """`[B, K]` the probability of each child of `node [B]` that is left; 0 for closed ones."""
    rows = jnp.arange(node.shape[0])
    children = counts.children[rows, node]
    left = counts.left[rows[:, None], children]
    is_open = (children >= 0) & (left >= LEAST)
    return jnp.where(is_open, counts.share[rows[:, None], children] * left, 0.0)


def descend(counts: Counts, keys: jax.Array, tilt: float) -> jax.Array:
    """`[B]` int32, the nodes at which a new step is drawn.

    Args:
        keys: `[B]` typed keys, consumed.
        tilt: beta.
    """
    rows, width = jnp.arange(keys.shape[0]), counts.children.shape[2]
    values = counts.values

    def down(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        node, moving, depth = carry
        children = counts.children[rows, node]
        visits = counts.visits[rows[:, None], children]
        better = values[rows[:, None], children] - values[rows, node][:, None]
        better = tilt * better * visits / (visits + 1.0)
        shares = open_shares(counts, node)
        logits = jnp.log(jnp.maximum(shares, TINY)) + jnp.where(visits > 0, better, 0.0)
        logits = jnp.where(shares > 0, logits, NEVER)
        rest = unseen(counts, node)
        new = jnp.where(rest > 0, jnp.log(jnp.maximum(rest, TINY)), NEVER)
        level_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, depth)
        logits = jnp.concatenate([logits, new[:, None]], axis=1)
        chosen = jax.vmap(jax.random.categorical)(level_keys, logits)
        moving &= chosen < width
        below = children[rows, jnp.minimum(chosen, width - 1)]
        return jnp.where(moving, below, node), moving, depth + 1

    start = jnp.zeros_like(rows), jnp.ones(rows.shape, bool), jnp.int32(0)
    return jax.lax.while_loop(lambda carry: carry[1].any(), down, start)[0]


def added(
    counts: Counts,
    at: jax.Array,
    place: jax.Array,
    child: Node,
    judged: tuple[jax.Array, jax.Array],
) -> Counts:
    """Adds a child of the nodes `at [B]`, in `place [B]`; behind the last place: none.

    Args:
        judged: its value, and whether it is finished.
    """
    rows, (value, finished) = jnp.arange(at.shape[0]), judged
    put, done = functools.partial(_put, rows, place), finished.astype(jnp.int32)
    made = place < counts.parents.shape[1]
    slot = jnp.where(made, counts.number[rows, at], counts.children.shape[2])
    return counts._replace(
        parents=put(counts.parents, at),
        children=counts.children.at[rows, at, slot].set(place, mode="drop"),
        number=counts.number.at[rows, at].add(made),
        share=put(counts.share, jnp.exp(child.step.draw_log_probs.sum(axis=1))),
        left=put(counts.left, 1.0 - done),
        raw_values=put(counts.raw_values, value),
        sums=put(counts.sums, jnp.where(finished, value, 0.0)),
        visits=put(counts.visits, done),
    )


def passed_up(counts: Counts, newest: jax.Array, happened: jax.Array) -> Counts:
    """Tells all above the nodes `newest [B]` what happened there, where something `happened [B]`: a
    finished solution counts once for each of them, and what is left of them is less."""
    rows = jnp.arange(newest.shape[0])
    ended = counts.visits[rows, newest] * (counts.number[rows, newest] == 0)
    value = counts.sums[rows, newest]

    def up(carry: tuple[Counts, jax.Array]) -> tuple[Counts, jax.Array]:
        counts, node = carry
        there, place = node >= 0, jnp.maximum(node, 0)
        above = (there & (place != newest)).astype(jnp.int32) * ended
        left = unseen(counts, place) + open_shares(counts, place).sum(axis=1)
        inner = there & ((place != newest) | (ended == 0))
        left = jnp.where(inner, left, counts.left[rows, place])
        counts = counts._replace(
            left=counts.left.at[rows, place].set(left),
            sums=counts.sums.at[rows, place].add(jnp.where(above > 0, value, 0.0)),
            visits=counts.visits.at[rows, place].add(above),
        )
        return counts, jnp.where(there, counts.parents[rows, place], NOWHERE)

    start = counts, jnp.where(happened, newest, NOWHERE)
    return jax.lax.while_loop(lambda carry: (carry[1] >= 0).any(), up, start)[0]


def as_mctx(tree: Growing) -> Tree:
    """The tree in mctx's form. A finished solution is a reward, and nothing lies behind it."""
    counts, rows = tree.counts, jnp.arange(tree.size.shape[0])
    there = counts.children >= 0
    below = jnp.maximum(counts.children, 0)

    def of_children(x: jax.Array, missing: float) -> jax.Array:
        return jnp.where(there, x[rows[:, None, None], below], missing)

    ended = of_children((counts.visits > 0) & (counts.number == 0), False) > 0
    slots = jnp.arange(counts.children.shape[2])
    own = counts.children[rows[:, None], jnp.maximum(counts.parents, 0)]
    places = jnp.arange(counts.parents.shape[1])
    action = jnp.where(own == places[None, :, None], slots, 0).sum(axis=2)
    values = of_children(counts.values, 0.0)
    # A child that nothing was finished below was drawn all the same: it has one visit at least.
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

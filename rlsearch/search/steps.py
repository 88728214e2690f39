"""Tree search whose actions are whole sampled steps.

A node is a partly written solution. A simulation goes down by the rule of its config
(`rlsearch.search.rules`) to a node at which it draws a step that the node's children are not, by
what it reads of them in the tree itself. So a simulation costs one step, not K of them, and no two
children of a node are the same. There it ends with the critic's word (with the chance
`config.trust`, decided at every new node), or it writes on, step by step, each of them a node; a
finished solution is told once. Where all that is left is a step that is there already, the node is
dry, and nothing is told.

All roots write one step a turn. A root is decided, and costs nothing more, when nothing is left
below it or what it may spend is spent: so many nodes and, where that is limited, tokens. Nothing is
begun that cannot be ended, and what comes last is written to its end.

Letters: B roots, K candidates of a node, L tokens of a step.
"""

import functools

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.draft import Draft, Line, Siblings, Step
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.loops import while_at_most
from rlsearch.search import mcts
from rlsearch.search.growing import (
    LEAST,
    NOWHERE,
    Growing,
    Judged,
    Node,
    added,
    as_mctx,
    passed_up,
    put,
    seedling,
)
from rlsearch.search.mcts import Tree
from rlsearch.search.result import Candidates, Grown
from rlsearch.search.rules import choice, descend
from rlsearch.verifiers.base import Critic, Memory


def search_steps(
    writer: Writer,
    critic: Critic,
    root: Draft,
    memory: Memory,
    keys: jax.Array,
    config: SearchConfig,
) -> Grown:
    """Grows a tree from each of B half-written solutions; see `rlsearch.search.search`."""
    format, sampling = writer.format, Sampling(config.temperature, config.min_p)
    rows, limits = jnp.arange(keys.shape[0]), Limits(config, format)
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 3)))

    def open_roots(tree: Growing) -> jax.Array:
        """`[B]` bool, the roots that are not decided."""
        ended = tree.spent | (tree.counts.left[:, 0] < LEAST)
        return (tree.at != NOWHERE) | (~ended & (tree.size < config.num_simulations))

    def write(tree: Growing) -> Growing:
        """Chooses where to write, writes one step there, and makes a node of it."""
        going_on, begins = open_roots(tree), tree.at == NOWHERE
        turn_keys = folded(keys, tree.turn)
        descent_keys, step_keys, trust_keys = split(turn_keys)
        rule = choice(config, keys, descent_keys, limits.progress(tree))
        at = jnp.where(begins, descend(tree.counts, rule), tree.at)
        node = jax.tree.map(lambda x: x[rows, at], tree.nodes)
        before = root._replace(line=node.line)
        spent = tree.spent | (going_on & begins & ~limits.room(tree, node.line))
        going_on &= ~(begins & spent)

        siblings = siblings_of(tree, tree.counts.children[rows, at])
        after, step = writer.step(before, step_keys, sampling, siblings)
        value, kept, read = critic.read(writer, after, memory._replace(own=node.memory))
        made, finished = going_on & ~step.duplicate, writer.finished(after)
        place = jnp.where(made, tree.size + 1, config.num_simulations + 1)  # behind all: nothing
        child, judged = Node(after.line, step, kept.own, read), Judged(value, finished)
        dry = tree.counts.dry.at[rows, at].max(going_on & step.duplicate)
        counts = added(tree.counts._replace(dry=dry), at, place, child, judged)
        grown = tree._replace(
            nodes=jax.tree.map(functools.partial(put, place), tree.nodes, child),
            counts=counts,
            size=tree.size + made,
            spent=spent,
            tokens=tree.tokens + jnp.where(going_on, step.length, 0),
            turn=tree.turn + 1,
        )
        trusted = jax.vmap(jax.random.uniform)(trust_keys) < config.trust
        ends = finished | (trusted & limits.may_stop(grown, root.line))
        return grown._replace(
            counts=passed_up(counts, jnp.where(made, place, at), going_on, made & ends),
            at=jnp.where(made & ~ends, place, NOWHERE),
        )

    value, kept, read = critic.read(writer, root, memory)
    done = writer.finished(root)
    first = Node(root.line, no_step(rows.size, format), kept.own, jnp.where(done, 0, read))
    start = seedling(first, Judged(value, done), config.num_simulations, config.num_candidates)
    tree = while_at_most(config.num_simulations, lambda tree: open_roots(tree).any(), write, start)
    return Grown(as_mctx(tree), tree.tokens)


class Limits:
    """The nodes and tokens that a tree may spend."""

    def __init__(self, config: SearchConfig, format: SolutionFormat):
        self.nodes, self.tokens, self.format = config.num_simulations, config.max_tokens, format
        # A simulation that is not sure to end with the critic's word needs room for a solution.
        self.whole = config.trust < 1 or config.max_tokens > 0

    def room(self, tree: Growing, line: Line) -> jax.Array:
        """`[B]` bool, a simulation that goes on from `line` can be ended."""
        if not self.whole:
            return tree.size < self.nodes
        enough = tree.size + self.format.num_steps - line.num_steps <= self.nodes
        if self.tokens:
            enough &= tree.tokens + self.format.max_length - line.length <= self.tokens
        return enough

    def may_stop(self, tree: Growing, root: Line) -> jax.Array:
        """`[B]` bool, a simulation may end with the critic's word, as another is paid for."""
        return self.room(tree, root) if self.whole else jnp.ones(tree.size.shape, bool)

    def progress(self, tree: Growing) -> jax.Array:
        """`[B]` float32, the share of what may be spent that is spent."""
        share = tree.size / self.nodes
        return jnp.maximum(share, tree.tokens / self.tokens) if self.tokens else share


def siblings_of(tree: Growing, children: jax.Array) -> Siblings:
    """The steps that led to `children [B, K]`, which the next one must not be."""
    rows, step = jnp.arange(children.shape[0])[:, None], tree.nodes.step
    return Siblings(
        tokens=step.tokens[rows, children],
        draw_log_probs=step.draw_log_probs[rows, children],
        present=children >= 0,
    )


def no_step(batch: int, format: SolutionFormat) -> Step:
    """The step that led to a root: none."""
    return Step(
        tokens=jnp.full((batch, format.max_step_length), format.pad, jnp.int32),
        draw_log_probs=jnp.zeros((batch, format.max_step_length), jnp.float32),
        prior_log_prob=jnp.zeros((batch,), jnp.float32),
        duplicate=jnp.zeros((batch,), bool),
        length=jnp.zeros((batch,), jnp.int32),
    )


def step_candidates(tree: Tree, node: jax.Array) -> Candidates:
    """The steps that were drawn at `node [B]`, in that order."""
    step = jax.tree.map(lambda x: mcts.children(tree, x, 0, node), tree.embeddings.step)
    return Candidates(
        tokens=step.tokens,
        lengths=step.length,
        prior_log_probs=step.prior_log_prob,
        usable=tree.children_index[jnp.arange(node.shape[0]), node] >= 0,
    )

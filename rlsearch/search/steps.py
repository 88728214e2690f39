"""Tree search whose actions are whole sampled steps.

A node is a partly written solution. Its children are drawn one at a time, when the search first
visits them, from the policy and without replacement: a simulation costs one step, not K of them,
and no two children of a node are the same step. What a draw needs to know of its siblings it
reads from the tree itself. Having been drawn from the policy, children enter the search with
equal priors (Hubert et al. 2021, Sampled MuZero: sampling replaces the prior); the improved
policy then weighs them by the policy's own probability again, as the target of a policy must.

Letters: B roots, K candidates of a node, N simulations, L tokens of a step, T of a solution.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.draft import Draft, Line, Siblings, Step
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.search import mcts
from rlsearch.search.mcts import Tree
from rlsearch.search.result import Candidates, Grown
from rlsearch.verifiers.base import Critic, Memory


class Node(NamedTuple):
    """The record that a tree keeps of each node."""

    line: Line
    step: Step  # the step that led here
    index: jax.Array  # [B] int32, the node's place in the tree
    memory: Any  # the critic's own, of the line
    read: jax.Array  # [B] int32, tokens that the critic read for it


def search_steps(
    writer: Writer,
    critic: Critic,
    root: Draft,
    memory: Memory,
    keys: jax.Array,
    config: SearchConfig,
) -> Grown:
    """Grows a tree from each of B half-written solutions; see `rlsearch.search.search`."""
    format, (batch,), actions = writer.format, keys.shape, config.num_candidates
    noise_keys, draw_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    sampling = Sampling(config.temperature, config.min_p)
    loop_tree = mcts.LoopTree()
    rows = jnp.arange(batch)

    def recurrent_fn(params: Any, key: Any, action: jax.Array, node: Node):
        del params, key, action  # the candidate drawn depends on the simulation, not its number
        embeddings = loop_tree.tree.embeddings
        index = loop_tree.tree.children_index[rows, node.index]
        siblings = Siblings(
            tokens=embeddings.step.tokens[rows[:, None], index],
            draw_log_probs=embeddings.step.draw_log_probs[rows[:, None], index],
            present=index >= 0,
        )
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(draw_keys, loop_tree.simulation)
        before = root._replace(line=node.line)
        after, step = writer.step(before, step_keys, sampling, siblings)
        was_finished, is_finished = writer.finished(before), writer.finished(after)
        value, kept, read = critic.read(writer, after, memory._replace(own=node.memory))
        # A finished solution is worth its score once, as a reward, and nothing lies behind it.
        # A step that a sibling already has is worth nothing: the search turns elsewhere.
        newly = is_finished & ~was_finished & ~step.duplicate
        alive = ~is_finished & ~step.duplicate
        output = mcts.recurrent_output(
            reward=jnp.where(newly, value, 0.0),
            discount=jnp.where(alive, 1.0, 0.0),
            prior_logits=jnp.zeros((batch, actions), jnp.float32),
            value=value,
        )
        child = jnp.full((batch,), loop_tree.simulation + 1, jnp.int32)
        read = jnp.where(step.length > 0, read, 0)
        return output, Node(after.line, step, child, kept.own, read)

    value, kept, read = critic.read(writer, root, memory)
    read = jnp.where(writer.finished(root), 0, read)
    places = jnp.zeros((batch,), jnp.int32)
    tree = mcts.run(
        mcts.root_output(
            prior_logits=jnp.zeros((batch, actions), jnp.float32),
            value=value,
            embedding=Node(root.line, no_step(batch, format), places, kept.own, read),
        ),
        recurrent_fn,
        noise_keys,
        config,
        loop_tree.loop,
    )
    return Grown(tree, tree.embeddings.step.length.sum(axis=1))


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
    """The steps that were drawn at `node [B]`."""
    step = jax.tree.map(lambda x: mcts.children(tree, x, 0, node), tree.embeddings.step)
    visits = tree.children_visits[jnp.arange(node.shape[0]), node]
    return Candidates(
        tokens=step.tokens,
        lengths=step.length,
        prior_log_probs=step.prior_log_prob,
        usable=(visits > 0) & ~step.duplicate.astype(bool),
    )

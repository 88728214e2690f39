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
from rlsearch.decoding.steps import Prefix, Siblings, Step, StepFormat, draw_step, finished
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.search import mcts
from rlsearch.search.critic import Critic
from rlsearch.search.mcts import Tree
from rlsearch.search.summary import Candidates


class Node(NamedTuple):
    """What a tree keeps of each node."""

    prefix: Prefix
    step: Step  # the step that led here
    index: jax.Array  # [B] int32, the node's place in the tree
    memory: Any  # what the critic keeps of it
    read: jax.Array  # [B] int32, tokens that the critic read for it


class Shared(NamedTuple):
    """What all nodes of a root's tree have in common."""

    params: Params
    prompt_cache: KeyValues
    prompts: jax.Array  # [B, P]
    keys: jax.Array  # [B] typed keys
    critic: Any  # what it keeps of the prompts


def search_steps(
    params: Params,
    keys: jax.Array,
    prompts: jax.Array,
    prompt_cache: KeyValues,
    prefix: Prefix,
    model: LanguageModel,
    form: StepFormat,
    config: SearchConfig,
    critic: Critic,
) -> tuple[Tree, jax.Array]:
    """Searches from B partly written solutions; see `rlsearch.search.search`.

    Returns:
        The tree, and how many tokens `[B]` the policy evaluated.
    """
    batch, actions = prompts.shape[0], config.num_candidates
    noise_keys, draw_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    loop_tree = mcts.LoopTree()
    rows = jnp.arange(batch)

    def recurrent_fn(shared: Shared, key: Any, action: jax.Array, node: Node):
        del key, action  # the candidate drawn depends on the simulation, not on its number
        embeddings = loop_tree.tree.embeddings
        index = loop_tree.tree.children_index[rows, node.index]
        siblings = Siblings(
            tokens=embeddings.step.tokens[rows[:, None], index],
            draw_log_probs=embeddings.step.draw_log_probs[rows[:, None], index],
            present=index >= 0,
        )
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(shared.keys, loop_tree.simulation)
        after, step = draw_step(
            model,
            shared.params,
            shared.prompt_cache,
            node.prefix,
            step_keys,
            form,
            config.temperature,
            siblings,
            config.min_p,
        )
        was_finished, is_finished = finished(node.prefix, form), finished(after, form)
        value, memory, read = critic.read(
            model, shared.params, shared.prompts, after, form, shared.critic, node.memory
        )
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
        return output, Node(after, step, child, memory, read)

    no_step = Step(
        tokens=jnp.full((batch, form.max_step_length), form.pad, jnp.int32),
        draw_log_probs=jnp.zeros((batch, form.max_step_length), jnp.float32),
        prior_log_prob=jnp.zeros((batch,), jnp.float32),
        duplicate=jnp.zeros((batch,), bool),
        length=jnp.zeros((batch,), jnp.int32),
    )
    value, memory, read = critic.read(
        model, params, prompts, prefix, form, critic.shared, critic.memory
    )
    read = jnp.where(finished(prefix, form), 0, read)
    root = mcts.root_output(
        prior_logits=jnp.zeros((batch, actions), jnp.float32),
        value=value,
        embedding=Node(prefix, no_step, jnp.zeros((batch,), jnp.int32), memory, read),
    )
    shared = Shared(params, prompt_cache, prompts, draw_keys, critic.shared)
    tree = mcts.run(root, recurrent_fn, shared, noise_keys, config, loop_tree.loop)
    return tree, tree.embeddings.step.length.sum(axis=1)


def step_candidates(tree: Tree, node: jax.Array) -> Candidates:
    """The steps that were drawn at `node [B]`."""
    step = jax.tree.map(lambda x: mcts.children(tree, x, 0, node), tree.embeddings.step)
    visits = tree.children_visits[jnp.arange(node.shape[0]), node]
    return Candidates(
        tokens=step.tokens,
        lengths=step.length,
        prior_log_probs=step.prior_log_prob,
        usable=(visits > 0) & ~step.duplicate,
    )

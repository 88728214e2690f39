"""Tree search whose actions are whole sampled steps.

A node is a partly written solution. Its children are drawn one at a time, when the search first
visits them, from the policy and without replacement: a simulation costs one step, not K of them,
and no two children of a node are the same step. What a draw needs to know of its siblings it
reads from the tree itself. Having been drawn from the policy, children enter the search with
equal priors (Hubert et al. 2021, Sampled MuZero: sampling replaces the prior); the improved
policy then weighs them by the policy's own probability again, as the target of a policy must.

Letters: B roots, K candidates of a node, N simulations, L tokens of a step, T of a solution.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import Prefix, Siblings, Step, StepFormat, draw_step, finished
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.search import mcts
from rlsearch.search.result import SearchResult


class Node(NamedTuple):
    """What a tree keeps of each node."""

    prefix: Prefix
    step: Step  # the step that led here
    index: jax.Array  # [B] int32, the node's place in the tree


class Shared(NamedTuple):
    """What all nodes of a root's tree have in common."""

    params: Params
    prompt_cache: KeyValues
    prompts: jax.Array  # [B, P]
    keys: jax.Array  # [B] typed keys


def search_steps(
    params: Params,
    keys: jax.Array,
    prompts: jax.Array,
    prompt_cache: KeyValues,
    prefix: Prefix,
    model: LanguageModel,
    form: StepFormat,
    config: SearchConfig,
    judge: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> tuple[SearchResult, Prefix]:
    """Searches for the next step of B partly written solutions at once.

    Args:
        keys: `[B]` typed keys, one a root, consumed.
        prompts: `[B, P]` int32, for the judge alone.
        judge: `(prompts, tokens [B, T]) -> [B]` values in [0, 1] of finished solutions. In
            training this is the checker. Without one the critic values a finished solution like
            any other: no ground truth is used.

    Returns:
        The result, and the prefixes with the chosen step appended.
    """
    batch, candidates = prompts.shape[0], config.num_candidates
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
        )
        was_finished, is_finished = finished(node.prefix, form), finished(after, form)
        value = model.value(shared.params, after.hidden)
        outcome = value if judge is None else judge(shared.prompts, after.tokens)
        # A finished solution is worth its outcome once, as a reward, and nothing lies behind it.
        reward = jnp.where(is_finished & ~was_finished, outcome.astype(jnp.float32), 0.0)
        # A step that a sibling already has is worth nothing: the search turns elsewhere.
        alive = ~is_finished & ~step.duplicate
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(step.duplicate, 0.0, reward),
            discount=jnp.where(alive, 1.0, 0.0),
            prior_logits=jnp.zeros((batch, candidates), jnp.float32),
            value=value,
        )
        child = jnp.full((batch,), loop_tree.simulation + 1, jnp.int32)
        return output, Node(after, step, child)

    no_step = Step(
        tokens=jnp.full((batch, form.max_step_length), form.pad, jnp.int32),
        draw_log_probs=jnp.zeros((batch, form.max_step_length), jnp.float32),
        prior_log_prob=jnp.zeros((batch,), jnp.float32),
        duplicate=jnp.zeros((batch,), bool),
        length=jnp.zeros((batch,), jnp.int32),
    )
    root = mctx.RootFnOutput(
        prior_logits=jnp.zeros((batch, candidates), jnp.float32),
        value=model.value(params, prefix.hidden),
        embedding=Node(prefix, no_step, jnp.zeros((batch,), jnp.int32)),
    )
    shared = Shared(params, prompt_cache, prompts, draw_keys)
    tree = mcts.run(root, recurrent_fn, shared, noise_keys, config, loop_tree.loop)
    return _summarise(tree, noise_keys, form, config)


def _summarise(
    tree: mctx.Tree, keys: jax.Array, form: StepFormat, config: SearchConfig
) -> tuple[SearchResult, Prefix]:
    rows = jnp.arange(tree.node_values.shape[0])
    visits = tree.children_visits[:, 0]
    step = jax.tree.map(lambda x: mcts.children(tree, x, 0), tree.embeddings.step)
    usable = (visits > 0) & ~step.duplicate
    # The value at which each finished node was judged, told to everything above it.
    reward = tree.children_rewards[rows[:, None], tree.parents, tree.action_from_parent]
    ended = finished(tree.embeddings.prefix, form) & (tree.parents >= 0)
    outcome = jnp.where(ended & ~tree.embeddings.step.duplicate, reward, 0.0)
    best = mcts.children(tree, mcts.best_below(tree, outcome, form.num_steps), 0.0)
    solved = usable & (best == 1.0)
    mean = jnp.where(usable, tree.qvalues(jnp.zeros_like(rows)), 0.0)
    # One right solution proves a step right, however many wrong ones were tried below it.
    values = jnp.where(solved, 1.0, mean)
    scale = config.value_scale * (config.max_visit_init + visits.max(axis=1, keepdims=True))
    logits = jnp.where(usable, step.prior_log_prob + scale * values, mcts.FORBIDDEN)
    improved_policy = jax.nn.softmax(logits)
    action = jax.vmap(lambda key, x: jax.random.categorical(jax.random.fold_in(key, 1), x))(
        keys, logits
    )
    chosen = tree.children_index[rows, 0, action]
    after = jax.tree.map(lambda x: x[rows, chosen], tree.embeddings.prefix)
    result = SearchResult(
        action=action,
        improved_policy=improved_policy,
        action_value=values[rows, action],
        root_value=tree.node_values[:, 0],
        visit_counts=visits,
        action_values=values,
        solved=solved,
        candidates=step.tokens,
        candidate_lengths=step.length,
        tokens=tree.embeddings.step.length.sum(axis=1),
        tree=tree,
    )
    return result, after

"""Search distillation: search from every problem, then make the policy do what search found.

A tree search from all problems at once (AlphaZero; Silver et al. 2017). Its tree is followed for
`decisions_per_search` decisions, each with the targets that its own node gives; then the next
search begins where that led, until the solutions are finished and the checker has judged them.
Targets of a decision:

    policy   the improved policy pi' of the search, over the candidates that it drew; a candidate
             through which a right solution is known (in its tree, or because the solution that
             went on from it came out right) has value 1 in it
    value    whether this problem was solved from here on, by the outcome or in a later tree

A decision below which nothing was solved has only the critic's word; its policy target is weighed
by `unsolved_weight`.

Letters: B problems, S decisions, K candidates, M targets of a decision, L tokens of a step.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import DistillConfig, SearchConfig
from rlsearch.decoding.steps import StepFormat, finished, start
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.search.critic import Critic
from rlsearch.search.search import decide, draw, num_decisions, search
from rlsearch.tasks.base import Task
from rlsearch.verifiers.checker import Checker

# A decision's other finished solutions teach the critic what a right one looks like; they are
# many and mostly wrong, so that each weighs less than the solution that was taken.
FINISHED_ALTERNATIVES_WEIGHT = 0.3


def draw_problems(task: Task, keys: jax.Array, config: DistillConfig) -> jax.Array:
    """Training problems `[B, P]`: the task's own, and unlimited ones.

    Of the unlimited ones, those with a hindsight goal have a solution, and mostly an easy one. For
    those with another goal nobody knows whether there is one.
    """

    def one(key: jax.Array) -> jax.Array:
        own_key, trace_key, choice_key = jax.random.split(key, 3)
        prompt, other_prompt, _, valid = task.draw_trace(trace_key)
        choice = jax.random.uniform(choice_key)
        other = choice < config.task_fraction + config.other_goal_fraction
        own = (choice < config.task_fraction) | ~valid
        drawn = jnp.where(other, other_prompt, prompt)
        return jnp.where(own, task.draw_task_problem(own_key), drawn)

    return jax.vmap(one)(keys)


def _where(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """`condition [B]` chooses between two `[B, ...]` arrays."""
    return jnp.where(condition.reshape(-1, *[1] * (one.ndim - 1)), one, other)


class Decision(NamedTuple):
    """What is kept of one search, for each of B problems."""

    candidates: jax.Array  # [B, M, L] int32; 0 is the step that was taken
    weights: jax.Array  # [B, M] float32, their share of the improved policy
    solved: jax.Array  # [B, M] bool, a right solution was found below
    finished: jax.Array  # [B, M] bool, the candidate ends the solution
    open: jax.Array  # [B] bool, the solution was not finished before this decision
    any_solved: jax.Array  # [B] bool, below any of the K candidates
    log_boost: jax.Array  # [B] what value 1 would add to the log-weight of the step taken
    tokens: jax.Array  # [B] int32, tokens evaluated


def search_targets(
    params: Params,
    keys: jax.Array,
    task: Task,
    model: LanguageModel,
    form: StepFormat,
    search_config: SearchConfig,
    config: DistillConfig,
    contrast: float,
) -> tuple[StepTargets, dict[str, jax.Array]]:
    """Plays one problem a key to its end and returns what to learn from it.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.
        contrast: of the traces, see `hindsight_targets`.

    Returns:
        For each problem one row and behind it those of `with_companions`, and per-problem metrics
        `[B]`: `solved` (the solution taken is right) and `search_tokens`.
    """
    batch = keys.shape[0]
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 3)))
    problem_keys, search_keys, trace_keys = split(keys)
    prompts = draw_problems(task, problem_keys, config)
    prompt_cache, first = start(model, params, prompts, form)

    total = num_decisions(form, search_config)

    def search_on(prefix, number):
        """Grows one tree, and follows it for `decisions_per_search` decisions."""
        search_key = functools.partial(jax.vmap(jax.random.fold_in, (0, None)), search_keys)
        grown, _ = search(
            params,
            search_key(number),
            prompts,
            prompt_cache,
            prefix,
            model,
            form,
            search_config,
            critic=Critic(Checker(task.check_tokens).read),
        )

        def follow(carry, step):
            prefix, node, inside = carry
            own_keys = jax.vmap(lambda key: jax.random.split(key, 2))(search_key(total + step))
            result, after, child = decide(
                grown.tree, node, grown.tokens, own_keys[:, 0], form, search_config
            )
            inside &= result.usable.any(axis=1)
            # Where the tree ends, the policy goes on alone; its action is candidate 0.
            drawn, tokens, length = draw(
                params, own_keys[:, 1], prompt_cache, prefix, model, form, search_config
            )
            alone = jnp.zeros_like(result.improved_policy).at[:, 0].set(1.0)
            policy = jnp.where(inside[:, None], result.improved_policy, alone)
            action = jnp.where(inside, result.action, 0)
            candidates = jnp.where(
                inside[:, None, None],
                result.candidates,
                jnp.full_like(result.candidates, form.pad).at[:, 0].set(tokens),
            )
            taken = jax.nn.one_hot(action, policy.shape[1])
            _, kept = jax.lax.top_k(policy + 2.0 * taken, config.num_targets)
            pick = functools.partial(jnp.take_along_axis, indices=kept, axis=1)
            known = inside[:, None] & result.solved
            ends = jnp.where(inside[:, None], result.finished, finished(drawn, form)[:, None])
            decision = Decision(
                candidates=jnp.take_along_axis(candidates, kept[:, :, None], axis=1),
                weights=pick(policy),
                solved=pick(known),
                finished=pick(ends),
                open=~finished(prefix, form),
                any_solved=known.any(axis=1),
                log_boost=jnp.where(inside, result.value_scale * (1.0 - result.action_value), 0.0),
                tokens=jnp.where(step % config.decisions_per_search == 0, grown.tokens, 0)
                + jnp.where(inside, 0, length),
            )
            after = jax.tree.map(functools.partial(_where, inside), after, drawn)
            return (after, jnp.where(inside, child, 0), inside), decision

        root = prefix, jnp.zeros((batch,), jnp.int32), jnp.ones((batch,), bool)
        steps = number * config.decisions_per_search + jnp.arange(config.decisions_per_search)
        (prefix, _, _), decisions = jax.lax.scan(follow, root, steps)
        return prefix, decisions

    prefix, decisions = jax.lax.scan(
        search_on, first, jnp.arange(total // config.decisions_per_search)
    )
    # [searches, decisions of each, B, ...] to [B, S, ...]
    decisions = jax.tree.map(lambda x: x.reshape(total, *x.shape[2:]), decisions)
    decisions = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), decisions)
    right = task.check_tokens(prompts, prefix.tokens)

    # Backwards through the decisions: was the problem solved after this one?
    found_later = jnp.concatenate([decisions.any_solved[:, 1:], right[:, None]], axis=1)
    solved_after = jax.lax.cummax(found_later.astype(jnp.int32), axis=1, reverse=True) > 0
    boost = jnp.where(solved_after, jnp.exp(decisions.log_boost), 1.0)
    weights = decisions.weights.at[:, :, 0].multiply(boost)
    weights /= jnp.maximum(weights.sum(axis=-1, keepdims=True), 1.0)
    known = decisions.any_solved | solved_after
    weights *= jnp.where(known, 1.0, config.unsolved_weight)[:, :, None]

    taken = jnp.zeros_like(weights).at[:, :, 0].set(1.0)
    ended = (decisions.finished & (decisions.weights > 0)) * (1.0 - taken)
    values = jnp.where(taken > 0, solved_after[:, :, None], decisions.solved)
    decided = decisions.open[:, :, None]
    targets = StepTargets(
        prompts=prompts,
        steps=decisions.candidates,
        weights=weights * decided,
        values=values.astype(jnp.float32),
        value_weights=decided * (taken + FINISHED_ALTERNATIVES_WEIGHT * ended),
        prompt_values=known[:, 0].astype(jnp.float32),
        prompt_value_weights=jnp.ones((batch,)),
        counted=jnp.ones(decisions.candidates.shape, bool),
    )
    rows = with_companions(
        targets,
        params,
        search_keys,
        trace_keys,
        prompt_cache,
        first,
        task,
        model,
        form,
        config,
        contrast,
    )
    metrics = {
        "solved": right.astype(jnp.float32),
        "search_tokens": decisions.tokens.sum(axis=1).astype(jnp.float32),
    }
    return jax.lax.stop_gradient(rows), metrics

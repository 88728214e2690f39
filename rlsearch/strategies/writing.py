"""Solutions being written while a verifier reads along: what all sampling strategies do.

Letters: R solutions in the making, S steps, T tokens of a solution.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import Prefix, Siblings, Step, draw_step, finished, start
from rlsearch.networks.language_model import Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.strategies.base import Policy
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Verifier


class Problems(NamedTuple):
    """What is there before R solutions are written; those of one problem may share it."""

    prompts: jax.Array  # [R, P] int32
    cache: KeyValues  # what the policy made of them
    shared: Any  # what the verifier did; see `Verifier.start`


class Draft(NamedTuple):
    """R partly written solutions."""

    prefix: Prefix
    memory: Any  # what the verifier keeps of them
    scores: jax.Array  # [R, S] float32, the verifier's of each step; 1 where there is none yet
    policy_tokens: jax.Array  # [R] int32, spent on it so far
    verifier_tokens: jax.Array  # [R] int32
    bad_scores: jax.Array  # [R] int32, scores that were no numbers


def begin(
    policy: Policy, params: Params, verifier: Verifier, prompts: jax.Array
) -> tuple[Problems, Draft, jax.Array]:
    """Solutions of `prompts [B, P]` before their first step.

    Returns:
        The problems, an empty draft of each, and the tokens `[B]` int32 that the verifier reads
        once for all solutions of a problem.
    """
    cache, prefix = start(policy.model, params, prompts, policy.form)
    shared, memory, read = verifier.start(prompts, policy.form)
    zeros = jnp.zeros_like(prefix.length)
    scores = jnp.ones((*zeros.shape, policy.form.num_steps))
    draft = Draft(prefix, memory, scores, zeros, zeros, zeros)
    return Problems(prompts, cache, shared), draft, read


def costless(draft: Draft) -> Draft:
    """The same solutions before anything was spent."""
    zeros = jnp.zeros_like(draft.policy_tokens)
    return draft._replace(policy_tokens=zeros, verifier_tokens=zeros, bad_scores=zeros)


def sound(score: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scores `[R]` in [0, 1], and which were no number: those count as 0.

    So a verifier that fails on one solution spoils no other.
    """
    bad = jnp.isnan(score)
    return jnp.clip(jnp.where(bad, 0.0, score), 0.0, 1.0), bad


def with_newest(scores: jax.Array, prefix: Prefix, score: jax.Array) -> jax.Array:
    """`scores [R, S]` of steps with `score [R]` for the newest of them, if there is one."""
    newest = jnp.arange(scores.shape[1]) == (prefix.num_steps - 1)[:, None]
    return jnp.where(newest, score[:, None], scores)


def append(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    draft: Draft,
    keys: jax.Array,
    temperature: float,
) -> Draft:
    """One more step of every unfinished solution, and its score; see `sound`.

    Args:
        keys: `[R]` typed keys, consumed.
        temperature: 0 takes the likeliest tokens. Static.
    """
    return append_distinct(
        policy, params, verifier, problems, draft, keys, temperature, siblings=None
    )[0]


def append_distinct(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    draft: Draft,
    keys: jax.Array,
    temperature: float,
    siblings: Siblings | None,
    min_p: float = 0.0,
) -> tuple[Draft, Step]:
    """As `append`, with a step that none of `siblings` is, if there is one left: see `draw_step`.

    Returns:
        The drafts, and the steps.
    """
    model, form, before = policy.model, policy.form, draft.prefix
    prefix, step = draw_step(
        model, params, problems.cache, before, keys, form, temperature, siblings, min_p
    )
    score, memory, read = verifier.read(
        model, params, problems.prompts, prefix, form, problems.shared, draft.memory
    )
    going_on, (score, bad) = ~finished(before, form), sound(score)
    scores = with_newest(draft.scores, prefix, score)
    return Draft(
        prefix=prefix,
        memory=memory,
        scores=jnp.where(going_on[:, None], scores, draft.scores),
        policy_tokens=draft.policy_tokens + step.length,
        verifier_tokens=draft.verifier_tokens + jnp.where(going_on, read, 0),
        bad_scores=draft.bad_scores + (going_on & bad),
    ), step


def write(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    draft: Draft,
    keys: jax.Array,
    temperature: float,
) -> Draft:
    """Writes on until every solution is finished; see `append`."""
    step_keys = jax.vmap(lambda key: jax.random.split(key, policy.form.num_steps))(keys)

    def step(draft: Draft, keys: jax.Array) -> tuple[Draft, None]:
        return append(policy, params, verifier, problems, draft, keys, temperature), None

    return jax.lax.scan(step, draft, jnp.swapaxes(step_keys, 0, 1))[0]


def total(draft: Draft, verifier: Verifier) -> jax.Array:
    """`[R]` one score for each solution, finished or not."""
    return aggregate(draft.scores, draft.prefix.num_steps, verifier.aggregation)


def finish(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    draft: Draft,
    keys: jax.Array,
) -> Draft:
    """Solutions written on to their end by greedy decoding; the costs are those of that alone.

    Args:
        keys: `[R]` typed keys, which greedy decoding makes nothing of.
    """
    return write(policy, params, verifier, problems, costless(draft), keys, temperature=0.0)

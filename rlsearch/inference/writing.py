"""Solutions being written while a verifier reads along: what all sampling strategies do.

Letters: R solutions in the making, S steps, T tokens of a solution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import Prefix, draw_step, finished
from rlsearch.inference.base import Policy
from rlsearch.networks.language_model import Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Verifier


class Draft(NamedTuple):
    """R partly written solutions."""

    prefix: Prefix
    scores: jax.Array  # [R, S] float32, the verifier's of each step; 1 where there is none yet
    policy_tokens: jax.Array  # [R] int32, spent on it so far
    verifier_tokens: jax.Array  # [R] int32


def blank(prefix: Prefix, num_steps: int) -> Draft:
    """Solutions before their first step."""
    zeros = jnp.zeros_like(prefix.length)
    return Draft(prefix, jnp.ones((*zeros.shape, num_steps)), zeros, zeros)


def append(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    prompts: jax.Array,
    prompt_cache: KeyValues,
    draft: Draft,
    keys: jax.Array,
    temperature: float,
) -> Draft:
    """One more step of every unfinished solution, and its score.

    A score that is no number counts as 0: a verifier that fails on one solution spoils no other.

    Args:
        prompts: `[R, P]` int32, with their cache.
        keys: `[R]` typed keys, consumed.
        temperature: 0 takes the likeliest tokens. Static.
    """
    model, form, before = policy.model, policy.form, draft.prefix
    prefix, step = draw_step(model, params, prompt_cache, before, keys, form, temperature)
    score = verifier.score(model, params, prompts, prefix, form)
    score = jnp.clip(jnp.nan_to_num(score, nan=0.0), 0.0, 1.0)
    going_on = ~finished(before, form)
    newest = jnp.arange(draft.scores.shape[1]) == (prefix.num_steps - 1)[:, None]
    newest &= going_on[:, None]
    return Draft(
        prefix=prefix,
        scores=jnp.where(newest, score[:, None], draft.scores),
        policy_tokens=draft.policy_tokens + step.length,
        verifier_tokens=draft.verifier_tokens
        + jnp.where(going_on, verifier.tokens(prompts, prefix), 0),
    )


def total(draft: Draft, verifier: Verifier) -> jax.Array:
    """`[R]` one score for each solution, finished or not."""
    return aggregate(draft.scores, draft.prefix.num_steps, verifier.aggregation)

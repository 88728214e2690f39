"""Finished candidates of each problem, and the answer that is chosen from them.

Letters: B problems, n candidates of each, T tokens of a solution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import finished
from rlsearch.networks.language_model import Params
from rlsearch.strategies.base import Policy, Solutions
from rlsearch.strategies.writing import Draft, begin, total, write
from rlsearch.verifiers.base import Verifier


class Candidates(NamedTuple):
    """What there is to choose from."""

    tokens: jax.Array  # [B, n, T] int32
    scores: jax.Array  # [B, n] float32, the verifier's; -1 where the solution is not finished
    answers: jax.Array  # [B, n] int32, what each says in the end; -1 where nothing
    step_scores: jax.Array  # [B, n, S] float32, the verifier's of each step; 1 where there is none
    policy_tokens: jax.Array  # [B] int32
    verifier_tokens: jax.Array  # [B] int32
    bad_scores: jax.Array  # [B] int32, scores that were no numbers


def candidates(
    policy: Policy, verifier: Verifier, prompts: jax.Array, draft: Draft, usable: jax.Array
) -> Candidates:
    """Gathers `B * n` drafts, those of a problem side by side.

    Args:
        prompts: `[B * n, P]`.
        usable: `[B, n]` bool, False where a draft must not be chosen.
    """
    usable = usable & finished(draft.prefix, policy.form).reshape(usable.shape)
    answers = policy.answers(prompts, draft.prefix.tokens).reshape(usable.shape)
    return Candidates(
        tokens=draft.prefix.tokens.reshape(*usable.shape, -1),
        scores=jnp.where(usable, total(draft, verifier).reshape(usable.shape), -1.0),
        answers=jnp.where(usable, answers, -1),
        step_scores=draft.scores.reshape(*usable.shape, -1),
        policy_tokens=draft.policy_tokens.reshape(usable.shape).sum(axis=1),
        verifier_tokens=draft.verifier_tokens.reshape(usable.shape).sum(axis=1),
        bad_scores=draft.bad_scores.reshape(usable.shape).sum(axis=1),
    )


def sample(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    prompts: jax.Array,
    keys: jax.Array,
    number: int,
    temperature: float,
) -> Candidates:
    """`number` independent solutions of each of `prompts [B, P]`; the keys `[B]` are consumed."""
    problems, first, read = begin(policy, params, verifier, prompts)

    def one(sample: jax.Array) -> Candidates:
        sample_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, sample)
        draft = write(policy, params, verifier, problems, first, sample_keys, temperature)
        usable = jnp.ones((prompts.shape[0], 1), bool)
        return candidates(policy, verifier, prompts, draft, usable)

    each = jax.lax.map(one, jnp.arange(number))
    side_by_side = (jnp.swapaxes(x[:, :, 0], 0, 1) for x in each[:4])
    found = Candidates(*side_by_side, *(x.sum(axis=0) for x in each[4:]))
    return found._replace(verifier_tokens=found.verifier_tokens + read)


def answer_with(found: Candidates, chosen: jax.Array) -> Solutions:
    """The answers `chosen [B]`, beside all that they were chosen from."""
    rows = jnp.arange(chosen.shape[0])
    return Solutions(
        tokens=found.tokens[rows, chosen],
        score=found.scores[rows, chosen],
        all_tokens=found.tokens,
        all_scores=found.scores,
        generations=(found.scores >= 0).sum(axis=1),
        policy_tokens=found.policy_tokens,
        verifier_tokens=found.verifier_tokens,
        bad_scores=found.bad_scores,
    )

"""Finished candidates of each problem, and the answer that is chosen from them.

Letters: B problems, n candidates of each, T tokens of a solution.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.strategies.base import Solutions
from rlsearch.strategies.writing import Judged, Problems, begin, write


class Candidates(NamedTuple):
    """Solutions to choose from."""

    tokens: jax.Array  # [B, n, T] int32
    scores: jax.Array  # [B, n] float32, the judge's; -1 where the solution is not finished
    answers: jax.Array  # [B, n] int32, what each says in the end; -1 where nothing
    log_probs: jax.Array  # [B, n] float32, the policy's of each solution
    step_scores: jax.Array  # [B, n, S] float32, the judge's of each step; 1 where there is none
    policy_tokens: jax.Array  # [B] int32
    verifier_tokens: jax.Array  # [B] int32
    bad_scores: jax.Array  # [B] int32, scores that were no numbers


def candidates(problems: Problems, judged: Judged, usable: jax.Array) -> Candidates:
    """Gathers `B * n` solutions, those of a problem side by side.

    Args:
        usable: `[B, n]` bool, False where a solution must not be chosen.
    """
    policy, tokens = problems.writer.policy, judged.line.tokens
    usable = usable & judged.line.finished(policy.format).reshape(usable.shape)
    answers = policy.answers(problems.prompt.tokens, tokens).reshape(usable.shape)
    scores = judged.total(problems.judge).reshape(usable.shape)
    return Candidates(
        tokens=tokens.reshape(*usable.shape, -1),
        scores=jnp.where(usable, scores, -1.0),
        answers=jnp.where(usable, answers, -1),
        log_probs=judged.log_prob.reshape(usable.shape),
        step_scores=judged.scores.reshape(*usable.shape, -1),
        policy_tokens=judged.policy_tokens.reshape(usable.shape).sum(axis=1),
        verifier_tokens=judged.verifier_tokens.reshape(usable.shape).sum(axis=1),
        bad_scores=judged.bad_scores.reshape(usable.shape).sum(axis=1),
    )


def sample(
    writer: Writer,
    judge: Any,
    prompts: jax.Array,
    keys: jax.Array,
    number: int,
    sampling: Sampling,
) -> Candidates:
    """Samples `number` independent solutions of each of `prompts [B, P]`.

    Args:
        keys: `[B]` typed keys, consumed.
    """
    problems, first, read = begin(writer, judge, prompts)

    def one(sample: jax.Array) -> Candidates:
        sample_keys = folded(keys, sample)
        judged = write(problems, first, sample_keys, sampling)
        return candidates(problems, judged, jnp.ones((prompts.shape[0], 1), bool))

    each = jax.lax.map(one, jnp.arange(number))
    side_by_side = (jnp.swapaxes(x[:, :, 0], 0, 1) for x in each[:5])
    found = Candidates(*side_by_side, *(x.sum(axis=0) for x in each[5:]))
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

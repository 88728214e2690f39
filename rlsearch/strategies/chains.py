"""Chains of attempts, each of which a policy writes with the latest ones before it in view.

The first attempt of a chain is a plain sample; every later one is written behind the 4 latest and
the prompt (Snell et al. 2024, section 6.1; see `rlsearch.decoding.contexts`). What says nothing is
no attempt to learn from and does not come into a context, as it did not in training.

The verifier scores every attempt. A head on the policy's trunk sees the history as the policy does;
a verifier with a network of its own reads the problem and the attempt, which is what it has learnt
to judge.

Letters: B problems, p chains of each, s attempts of a chain, T tokens of an attempt.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.contexts import no_attempts, remember, with_attempts
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.strategies.candidates import Candidates, candidates
from rlsearch.strategies.vote import best_by_weight, first_best, vote
from rlsearch.strategies.writing import begin, write


class Chains(NamedTuple):
    """All attempts, and what each cost."""

    tokens: jax.Array  # [B, p, s, T] int32
    scores: jax.Array  # [B, p, s] float32, the verifier's; -1 where the attempt is not finished
    log_probs: jax.Array  # [B, p, s] float32, the policy's, with the attempts before in view
    answers: jax.Array  # [B, p, s] int32, what each says in the end; -1 where nothing
    policy_tokens: jax.Array  # [B, p, s] int32, written
    context_tokens: jax.Array  # [B, p, s] int32, of the context that the policy read for it; first
    # attempts have none, as all chains share the prompt
    verifier_tokens: jax.Array  # [B, p, s] int32
    bad_scores: jax.Array  # [B, p, s] int32, scores that were no numbers
    shared_verifier_tokens: jax.Array  # [B] int32, read once for all attempts


def sample_chains(
    writer: Writer,
    judge: Any,
    prompts: jax.Array,
    keys: jax.Array,
    parallel: int,
    sequential: int,
    sampling: Sampling,
) -> Chains:
    """`parallel` chains of `sequential` attempts at each of `prompts [B, P]`.

    Attempt j of chain i is the same whatever the numbers of chains and attempts, and the first of
    chain i is sample i of `candidates.sample`.

    Args:
        keys: `[B]` typed keys, consumed.
    """
    format, batch = writer.format, prompts.shape[0]
    problems, first, shared = begin(writer, judge, prompts)
    usable = jnp.ones((batch, 1), bool)

    def chain(number: jax.Array) -> tuple[Candidates, jax.Array]:
        chain_keys = folded(keys, number)
        judged = write(problems, first, chain_keys, sampling)
        beginning = candidates(problems, judged, usable)

        def seen(attempts: jax.Array, newest: Candidates) -> jax.Array:
            return remember(attempts, newest.tokens[:, 0], newest.answers[:, 0] >= 0)

        def revise(attempts: jax.Array, turn: jax.Array):
            context = with_attempts(prompts, attempts, format.pad)
            draft = writer.start(prompts, context)
            behind, empty = problems._replace(prompt=draft.prompt), first._replace(line=draft.line)
            # Smaller numbers have become the keys of the first attempt's steps.
            own = folded(chain_keys, format.num_steps + turn)
            found = candidates(behind, write(behind, empty, own, sampling), usable)
            return seen(attempts, found), (found, context.real.sum(axis=1))

        attempts = seen(no_attempts(batch, format.max_length, format.pad), beginning)
        _, (later, read) = jax.lax.scan(revise, attempts, jnp.arange(1, sequential))
        every = jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), beginning, later)
        return every, jnp.concatenate([jnp.zeros((1, batch), jnp.int32), read])

    found, read = jax.lax.map(chain, jnp.arange(parallel))  # [p, s, B, 1, ...] and [p, s, B]

    def of_problems(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 2, 0)

    return Chains(
        tokens=of_problems(found.tokens)[:, :, :, 0],
        scores=of_problems(found.scores)[..., 0],
        log_probs=of_problems(found.log_probs)[..., 0],
        answers=of_problems(found.answers)[..., 0],
        policy_tokens=of_problems(found.policy_tokens),
        context_tokens=of_problems(read),
        verifier_tokens=of_problems(found.verifier_tokens),
        bad_scores=of_problems(found.bad_scores),
        shared_verifier_tokens=shared,
    )


def best_of_chains(answers: jax.Array, scores: jax.Array) -> jax.Array:
    """`[B]` int32, the place among p * s attempts of the one that a verifier chooses.

    Weighted best-of-N inside each chain, then among the attempts that the chains have chosen.

    Args:
        answers, scores: `[B, p, s]`, as in `Chains`.
    """
    batch, parallel, sequential = answers.shape
    inside = best_by_weight(answers.reshape(-1, sequential), scores.reshape(-1, sequential))
    inside = inside.reshape(batch, parallel)

    def chosen(x: jax.Array) -> jax.Array:
        return jnp.take_along_axis(x, inside[:, :, None], axis=2)[:, :, 0]

    chain = best_by_weight(chosen(answers), chosen(scores))
    return chain * sequential + inside[jnp.arange(batch), chain]


def majority_of_chains(answers: jax.Array, scores: jax.Array) -> jax.Array:
    """Does what `best_of_chains` does without a verifier: one vote of all attempts, whatever their
    chain.

    Of `scores` it counts only which attempts are finished.
    """
    answers = answers.reshape(len(answers), -1)
    done = (scores.reshape(answers.shape) >= 0).astype(jnp.float32)
    return first_best(vote(answers, jnp.ones(answers.shape)), done)

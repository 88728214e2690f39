"""Chains of attempts: what each is written behind, which of them wins, and what they cost."""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.decoding.contexts import ATTEMPTS
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import Budget
from rlsearch.strategies.chains import best_of_chains, majority_of_chains, sample_chains
from rlsearch.strategies.revisions import Revisions
from rlsearch.strategies.weighted_best_of_n import WeightedBestOfN
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import A, ToyTask, toy_policy, toy_writer

PROMPTS = jnp.array(ToyTask.PROBLEMS, jnp.int32)
KEYS = row_keys(jax.random.key(0), len(PROMPTS))
# Words that begin with A say nothing.
POLICY = dataclasses.replace(
    toy_policy(), answers=lambda prompts, tokens: jnp.where(tokens[:, 0] == A, -1, tokens[:, 4])
)
WRITER = Writer(POLICY, toy_writer().params)
CHAINS, TURNS, LENGTH = 2, 8, 6


def solve(strategy, verifier, solutions):
    budget = Budget(solutions, solutions * LENGTH)
    run = jax.jit(lambda *x: strategy.solve(*x, budget))
    return jax.tree.map(np.asarray, run(WRITER, verifier, PROMPTS, KEYS))


@functools.cache
def chains():
    run = jax.jit(lambda *x: sample_chains(*x, CHAINS, TURNS, Sampling()))
    return jax.tree.map(np.asarray, run(WRITER, ValueHead(), PROMPTS, KEYS))


def test_chains_of_one_attempt_are_parallel_samples():
    found = solve(Revisions(sequential=1), ValueHead(), 4)
    expected = solve(WeightedBestOfN(), ValueHead(), 4)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, np.broadcast_to(other, np.shape(one)))


def test_an_attempt_is_written_behind_the_four_latest_that_say_something():
    found = chains()
    write = jax.jit(lambda *x: WRITER.sample(*x)[0].line.tokens)
    # All attempts behind a full context: their texts are of one length, and one batch.
    texts, keys, attempts, behind = [], [], [], []
    for row, chain, turn in np.ndindex(len(PROMPTS), CHAINS, TURNS):
        before = [t for t in found.tokens[row, chain, :turn] if t[0] != A]
        context = [*np.concatenate([[], *before[-ATTEMPTS:]]), *PROMPTS[row]]
        read = len(context) if turn else 0  # the first attempts share the prompt
        assert found.context_tokens[row, chain, turn] == read
        if len(before) >= ATTEMPTS:
            texts.append(context)
            key = jax.random.fold_in(KEYS[row], chain)
            keys.append(jax.random.fold_in(key, POLICY.format.num_steps + turn))
            attempts.append(found.tokens[row, chain, turn])
            behind.append(len(before))
    written = write(jnp.array(texts, jnp.int32), jnp.stack(keys))
    np.testing.assert_array_equal(written, attempts)
    assert max(behind) > ATTEMPTS  # of which the oldest is no longer seen
    assert len(np.unique(found.tokens[:, :, 1:].reshape(-1, LENGTH), axis=0)) > 5


def heaviest(answers, scores) -> int:
    """Weighted best-of-N by its definition; the first of equals."""
    totals = collections.Counter()
    for answer, score in zip(answers, scores, strict=True):
        if answer >= 0:
            totals[answer] += max(score, 0.0)
    ranked = [(totals.get(a, -1.0), s) for a, s in zip(answers, scores, strict=True)]
    return ranked.index(max(ranked))


def test_a_verifier_chooses_inside_each_chain_and_then_among_chains():
    random = np.random.default_rng(0)
    answers = random.integers(-1, 3, (200, 3, 4))
    scores = np.where(answers < 0, -1.0, random.integers(0, 8, answers.shape) / 8)
    chosen, voted = (
        np.asarray(choose(jnp.array(answers), jnp.array(scores, jnp.float32)))
        for choose in (best_of_chains, majority_of_chains)
    )
    flat = 0
    for row in range(len(answers)):
        inside = [heaviest(*chain) for chain in zip(answers[row], scores[row], strict=True)]
        places = np.arange(3), inside
        chain = heaviest(answers[row][places], scores[row][places])
        assert chosen[row] == 4 * chain + inside[chain]
        every = answers[row].reshape(-1), scores[row].reshape(-1)
        flat += chosen[row] != heaviest(*every)
        counts = collections.Counter(every[0][every[0] >= 0].tolist())
        assert counts[every[0][voted[row]]] == max(counts.values())
    assert flat > 0  # the chains matter


def test_without_a_verifier_all_attempts_vote():
    found = solve(Revisions(sequential=2), Constant(), 12)
    flat = found.all_tokens.reshape(-1, LENGTH)
    answers = np.asarray(POLICY.answers(PROMPTS, jnp.array(flat))).reshape(len(PROMPTS), 12)
    apart = 0
    for row, (tokens, said) in enumerate(zip(found.all_tokens, answers, strict=True)):
        voted = heaviest(said, np.ones(12))
        np.testing.assert_array_equal(found.tokens[row], tokens[voted])
        inside = best_of_chains(said.reshape(1, 6, 2), jnp.full((1, 6, 2), 0.5))
        apart += said[int(inside[0])] != said[voted]
    assert apart > 0  # it would have been another vote inside each chain first


def test_the_answer_is_an_attempt_that_says_something_and_all_is_counted():
    found = solve(Revisions(sequential=4), ValueHead(), 8)
    says = found.all_tokens[:, :, 0] != A
    among = (found.all_tokens == found.tokens[:, None]).all(axis=2) & says
    assert among[says.any(axis=1)].any(axis=1).all() and not says.all()
    assert (found.generations == 8).all() and (found.policy_tokens == 8 * LENGTH).all()
    assert (found.verifier_tokens == 0).all() and found.contexts == 2 * 3
    # A chain begins as a longer one does.
    longer = jax.tree.map(lambda x: x[:, :, :4] if x.ndim > 2 else x, chains())
    np.testing.assert_array_equal(found.all_tokens, longer.tokens.reshape(len(PROMPTS), 8, -1))
    np.testing.assert_array_equal(found.context_tokens, longer.context_tokens.sum(axis=(1, 2)))


@pytest.mark.parametrize(
    ("sequential", "solutions", "bought"),
    [(4, 16, (4, 4)), (1, 16, (16, 1)), (16, 16, (1, 16)), (4, 2, (1, 2)), (4, 7, (1, 4))],
)
def test_what_a_budget_buys_is_said(sequential, solutions, bought):
    settings = Revisions(sequential).settings(POLICY, Budget(solutions, 0))
    assert (settings["parallel"], settings["sequential"]) == bought
    assert settings["n"] == bought[0] * bought[1]

import collections

import jax.numpy as jnp
import numpy as np

from rlsearch.strategies.vote import first_best, vote

RANDOM = np.random.default_rng(0)
ANSWERS = RANDOM.integers(-1, 4, (200, 9)).astype(np.int32)
# Quarters add up without rounding, and give many ties.
WEIGHTS = (RANDOM.integers(0, 5, (200, 9)) / 4).astype(np.float32)


def by_hand(answers, weights) -> dict[int, float]:
    totals = collections.defaultdict(float)
    for answer, weight in zip(answers, weights, strict=True):
        if answer >= 0:
            totals[int(answer)] += float(weight)
    return totals


def test_votes_are_those_of_brute_force():
    totals = np.asarray(vote(jnp.array(ANSWERS), jnp.array(WEIGHTS)))
    for row, (answers, weights) in enumerate(zip(ANSWERS, WEIGHTS, strict=True)):
        expected = by_hand(answers, weights)
        assert totals[row].tolist() == [expected[a] if a >= 0 else -1.0 for a in answers.tolist()]


def test_the_majority_wins_and_ties_go_to_the_first_seen():
    chosen = np.asarray(first_best(vote(jnp.array(ANSWERS), jnp.ones(ANSWERS.shape))))
    for row, answers in enumerate(ANSWERS):
        counts = by_hand(answers, np.ones(9))
        if not counts:
            continue
        first_of_best = next(
            i for i, a in enumerate(answers) if counts.get(a) == max(counts.values())
        )
        assert chosen[row] == first_of_best


def test_ties_are_broken_by_the_next_rank_and_then_by_place():
    first = jnp.array([[1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    second = jnp.array([[9.0, 1.0, 3.0, 3.0], [0.0, 5.0, 1.0, 5.0]])
    assert first_best(first, second).tolist() == [2, 1]
    assert first_best(first).tolist() == [1, 0]


def test_what_has_no_answer_never_wins():
    answers = jnp.array([[-1, -1, 2, -1]])
    totals = vote(answers, jnp.array([[9.0, 9.0, 0.0, 9.0]]))
    assert first_best(totals).tolist() == [2]

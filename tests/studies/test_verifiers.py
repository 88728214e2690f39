"""What the study of verifiers makes of scores."""

import numpy as np
import pytest

from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.measuring.calibration import reliability
from rlsearch.measuring.pass_at_k import pass_at_k
from rlsearch.studies.verifiers import Samples, Scores, curves, judged

RANDOM = np.random.default_rng(0)
Q, N = 60, 8
RIGHT = RANDOM.random((Q, N)) < RANDOM.random((Q, 1)) * 0.5
ANSWERS = np.where(RIGHT, 7, RANDOM.integers(0, 6, (Q, N)))
ANSWERS[:, -1] = -1  # not finished
RIGHT[:, -1] = False
PRESENT = np.ones((Q, N, 2), bool)
LABELS = PRESENT & RIGHT[:, :, None]
SAMPLES = Samples(np.zeros((Q, N, 4), np.int32), ANSWERS, RIGHT, PRESENT, LABELS)


def found(solutions, budgets=(1, 4, N)):
    solutions = np.where(ANSWERS >= 0, solutions, -1.0).astype(np.float32)
    scores = Scores(np.ones((Q, N, 2), np.float32), solutions, np.zeros((Q, N)), 0)
    return {(name, n): share for name, n, share in curves(SAMPLES, scores, budgets, 0)}


NONE = {(name, n): share for name, n, share in curves(SAMPLES, None, (1, 4, N), 0)}


def test_a_perfect_verifier_reaches_what_any_sample_reaches():
    perfect = found(RIGHT)
    assert perfect["best_of_n", N] == NONE["pass_at_n", N] == RIGHT.any(axis=1).mean()
    np.testing.assert_allclose(perfect["best_of_n", 4], NONE["pass_at_n", 4], atol=0.01)
    assert perfect["weighted_best_of_n", N] == RIGHT.any(axis=1).mean()
    expected = pass_at_k(N, RIGHT.sum(axis=1), 1).mean()
    np.testing.assert_allclose(NONE["pass_at_n", 1], expected)


def test_a_constant_verifier_leaves_the_first_sample_and_the_count_of_votes():
    constant = found(np.full((Q, N), 0.5))
    assert constant["best_of_n", N] == RIGHT[:, 0].mean()
    assert constant["weighted_best_of_n", N] == NONE["self_consistency", N]


def test_a_random_verifier_is_no_better_than_one_sample():
    low, high = wilson_interval(RIGHT[:, :-1].mean() * Q, Q)
    assert low <= found(RANDOM.random((Q, N)))["best_of_n", N] <= high


def test_the_majority_is_that_of_counting():
    shares = []
    for answers, right in zip(ANSWERS[:, :-1], RIGHT[:, :-1], strict=True):
        counts = [(answers == answer).sum() for answer in answers]
        shares.append(right[int(np.argmax(counts))])  # ties go to the first
    np.testing.assert_allclose(NONE["self_consistency", N], np.mean(shares))


def test_steps_are_held_against_their_labels():
    steps = np.where(SAMPLES.labels, 0.9, 0.2).astype(np.float32)
    result = judged(SAMPLES, Scores(steps, RIGHT.astype(np.float32), np.zeros((Q, N)), 0))
    assert result["steps"]["accuracy"] == 1.0 and result["steps"]["auc"] == 1.0
    assert result["solutions"]["count"] == Q * (N - 1)
    np.testing.assert_allclose(
        result["steps"]["calibration_error"],
        RIGHT.mean() * 0.1 + (1 - RIGHT.mean()) * 0.2,
        atol=1e-5,
    )
    low, high = reliability(np.array([0.2, 0.2, 0.95]), np.array([False, True, True]))
    assert low == [pytest.approx(0.2), 0.5, 2.0] and high == [pytest.approx(0.95), 1.0, 1.0]

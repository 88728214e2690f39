import itertools
import math

import numpy as np
import pytest

from rlsearch.measuring.compute_optimal import (
    budget_needed,
    compute_optimal,
    difficulty_bins,
    inference_multiplier,
    mean_by_bin,
)
from rlsearch.measuring.pass_at_k import pass_at_k


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_pass_at_k_is_that_of_all_choices(k):
    for right in range(7):
        samples = [1] * right + [0] * (6 - right)
        choices = list(itertools.combinations(samples, k))
        expected = np.mean([max(choice) for choice in choices])
        np.testing.assert_allclose(pass_at_k(6, np.array(right), k), expected, atol=1e-12)


def test_pass_at_k_of_many_samples_is_no_overflow():
    found = pass_at_k(2048, np.array([0, 1, 1000, 2048]), 1024)
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0, 1.0], atol=1e-9)
    with pytest.raises(ValueError, match="k is 5: it must be from 1 to the number of samples, 4"):
        pass_at_k(4, np.array([1]), 5)


def test_bins_are_of_equal_size_and_the_easiest_come_first():
    ease = np.random.default_rng(0).uniform(size=103)
    bins = difficulty_bins(ease)
    assert np.ptp(np.bincount(bins)) <= 1
    for number in range(4):
        assert ease[bins == number].min() > ease[bins == number + 1].max()
    assert difficulty_bins(np.zeros(10)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_each_bin_gets_what_is_best_for_it():
    bins = np.repeat(np.arange(2), 50)
    right = np.array([bins == 0, bins == 1, np.full(100, 0.5)], float)
    found = compute_optimal(right, bins)
    assert found.accuracy.mean() == 1.0 and found.chosen == [(0, 0), (1, 1)]
    assert mean_by_bin(right[2], bins) == [0.5, 0.5]


def test_nothing_is_measured_on_the_half_that_chose_it():
    # A setting for each problem, right there alone: what is chosen is always wrong on the others.
    assert compute_optimal(np.eye(40), np.zeros(40, int)).accuracy.sum() == 0
    # Noise has no best setting: choosing on the same half would find one.
    right = (np.random.default_rng(0).uniform(size=(500, 400)) < 0.5).astype(float)
    held_out = compute_optimal(right, np.arange(400) % 5).accuracy.mean()
    assert abs(held_out - 0.5) < 0.06
    assert np.mean([right[:, i::5].mean(axis=1).max() for i in range(5)]) > 0.62


def test_a_bin_of_one_problem_is_no_failure():
    found = compute_optimal(np.array([[1.0], [0.0]]), np.zeros(1, int))
    assert np.isfinite(found.accuracy).all()


def test_the_budget_is_read_between_two_by_logarithm():
    accuracies = {1: 0.1, 4: 0.3, 16: 0.5}
    assert budget_needed(accuracies, 0.5) == 16 and budget_needed(accuracies, 0.05) == 1
    np.testing.assert_allclose(budget_needed(accuracies, 0.4), math.sqrt(4 * 16))
    assert budget_needed(accuracies, 0.6) is None
    assert budget_needed({4: 0.5, 16: 0.5}, 0.5) == 4
    assert budget_needed({4: 0.5, 16: 0.3, 64: 0.5}, 0.5) == 64  # the first was chance
    assert budget_needed({4: 0.5, 16: 0.3}, 0.5) is None


@pytest.mark.parametrize(("ratio", "multiplier"), [(0.16, 257.8), (0.79, 63.4), (22, 15.8)])
def test_the_exchange_with_pretraining_is_the_papers(ratio, multiplier):
    np.testing.assert_allclose(inference_multiplier(14, ratio), multiplier, atol=0.05)
    assert inference_multiplier(1, ratio) == 1


@pytest.mark.parametrize(
    ("m", "r", "said"), [(0.5, 1, "m is 0.5: it must be at least 1"), (2, 0, "R is 0: it must be")]
)
def test_ratios_that_mean_nothing_are_refused(m, r, said):
    with pytest.raises(ValueError, match=said):
        inference_multiplier(m, r)

import numpy as np

from rlsearch.measuring.calibration import (
    auc,
    auc_within,
    calibration_error,
    held_out_accuracy,
    quality,
    step_quality,
)

RANDOM = np.random.default_rng(0)


def test_auc_is_that_of_all_pairs():
    scores = RANDOM.integers(0, 6, 60) / 5  # with ties
    labels = RANDOM.uniform(size=60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    np.testing.assert_allclose(auc(scores, labels), np.mean(pairs))
    assert auc(labels.astype(float), labels) == 1.0
    np.testing.assert_allclose(auc(-scores, labels), 1 - np.mean(pairs))
    assert auc(np.full(60, 0.5), labels) == 0.5
    assert auc(scores, np.ones(60, bool)) is None and auc(scores, np.zeros(60, bool)) is None


def test_scores_that_mean_what_they_say_are_calibrated():
    scores = RANDOM.uniform(size=200_000)
    labels = RANDOM.uniform(size=200_000) < scores
    assert calibration_error(scores, labels) < 0.01
    np.testing.assert_allclose(calibration_error(scores**4, labels), 0.3, atol=0.01)  # 1/2 - 1/5
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0
    assert calibration_error(np.array([1.0, 0.0]), np.array([False, True])) == 1.0


def test_quality_of_few_or_none_is_no_failure():
    found = quality(np.array([0.9, 0.2, 0.6]), np.array([True, False, False]))
    assert found["accuracy"] == 2 / 3 and found["auc"] == 1.0 and found["share_right"] == 1 / 3
    assert quality(np.zeros(0), np.zeros(0, bool))["auc"] is None


def steps_of(problems=12, samples=10, number=4):
    """Steps of solutions, each of which is right up to some step or to its end."""
    shape = (problems, samples, number)
    step = np.broadcast_to(np.arange(number), shape)
    lengths = RANDOM.integers(2, number + 1, shape[:2])[:, :, None]
    labels = step < RANDOM.integers(0, number + 1, shape[:2])[:, :, None]
    return labels, step < lengths


def test_a_score_of_the_problem_or_of_the_step_number_alone_ranks_nothing():
    labels, present = steps_of()
    problem, _, step = np.indices(labels.shape)
    for blind in (problem / 12, 1.0 - step / 4, (problem + 12 * step) / 48):
        found = step_quality(blind, labels, present)
        assert found["auc"] == 0.5 and set(found["auc_by_step"]) <= {0.5, None}
    pooled = auc((1.0 - step / 4)[present], labels[present])
    assert pooled is not None and pooled > 0.6  # which is what pooling the numbers would say


def test_steps_are_ranked_within_a_problem_and_a_number_and_never_the_last():
    labels, present = steps_of()
    found = step_quality(labels.astype(float), labels, present)
    assert found["auc"] == 1.0 and found["accuracy"] == 1.0 and found["count"] == present.sum()
    step = np.broadcast_to(np.arange(4), labels.shape)
    last = step == present.sum(axis=2, keepdims=True) - 1
    spoilt = np.where(last, ~labels, labels).astype(float)
    assert step_quality(spoilt, labels, present)["auc"] == 1.0
    assert found["auc_by_step"][-1] is None  # behind it there is no step


def test_auc_within_groups_counts_each_pair_once():
    scores, groups = RANDOM.integers(0, 6, 80) / 5, RANDOM.integers(0, 7, 80)
    labels = RANDOM.uniform(size=80) < 0.4
    pairs = [
        (a > b) + 0.5 * (a == b)
        for group in range(7)
        for a in scores[labels & (groups == group)]
        for b in scores[~labels & (groups == group)]
    ]
    np.testing.assert_allclose(auc_within(scores, labels, groups), np.mean(pairs))
    assert auc_within(scores, labels, np.arange(80)) is None


def test_soft_scores_are_cut_where_they_part_right_from_wrong():
    labels = RANDOM.uniform(size=4000) < 0.5
    soft = np.where(labels, RANDOM.uniform(0.05, 1.0, 4000), 0.0)  # may still come out right
    halves = np.arange(4000) % 2 == 0
    found = held_out_accuracy(soft, labels, halves)
    assert found is not None and found > 0.99 > quality(soft, labels)["accuracy"]
    guessed = held_out_accuracy(RANDOM.uniform(size=4000), labels, halves)
    assert guessed is not None and 0.45 < guessed < 0.55
    assert held_out_accuracy(soft, labels, np.ones(4000, bool)) is None
    for label in (True, False):
        assert held_out_accuracy(soft, np.full(4000, label), halves) == 1.0

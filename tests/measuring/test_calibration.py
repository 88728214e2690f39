import numpy as np

from rlsearch.measuring.calibration import auc, calibration_error, quality

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

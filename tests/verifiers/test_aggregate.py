import numpy as np
import pytest

from rlsearch.verifiers.aggregate import AGGREGATIONS, aggregate

SCORES = np.random.default_rng(0).uniform(size=(50, 2, 6)).astype(np.float32)
NUM_STEPS = np.random.default_rng(1).integers(1, 7, (50, 2)).astype(np.int32)
BY_HAND = {"last": lambda x: x[-1], "min": min, "prod": np.prod, "mean": np.mean}


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_only_the_steps_that_are_written_count(how):
    found = np.asarray(aggregate(SCORES, NUM_STEPS, how))
    for place in np.ndindex(found.shape):
        steps = SCORES[place][: NUM_STEPS[place]]
        np.testing.assert_allclose(found[place], BY_HAND[how](steps), rtol=1e-5)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_extremes(how):
    zeros, ones = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert aggregate(ones, np.array([3]), how)[0] == 1.0
    np.testing.assert_allclose(aggregate(zeros, np.array([3]), how), 0.0, atol=1e-20)
    assert aggregate(zeros, np.array([0]), how)[0] == 1.0  # no step, and so none that is wrong
    one_bad = np.array([[0.0, 1.0, 1.0]], np.float32)
    expected = {"last": 1.0, "min": 0.0, "prod": 0.0, "mean": 2 / 3}[how]
    np.testing.assert_allclose(aggregate(one_bad, np.array([3]), how), expected, atol=1e-6)


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="aggregation is 'max': it must be last, min, prod, mean"):
        aggregate(SCORES, NUM_STEPS, "max")

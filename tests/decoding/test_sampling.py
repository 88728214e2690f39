import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.decoding.sampling import GREEDY, Sampling

PRIOR = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": -0.1}, "temperature is -0.1: it must be at least 0"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"min_p": -0.1}, "min_p is -0.1: it must be in"),
        ({"min_p": 1.0}, "min_p is 1.0"),
        ({"min_p": math.nan}, "min_p is nan"),
        ({"top_k": -1}, "top_k is -1: it must be at least 0"),
        ({"top_p": 0.0}, "top_p is 0.0: it must be in"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_what_is_no_distribution_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Sampling(**fields)


def test_the_distribution_of_a_draw():
    np.testing.assert_array_equal(Sampling().log_probs(PRIOR), PRIOR)
    sharp = np.exp(Sampling(0.5).log_probs(PRIOR)[0])
    np.testing.assert_allclose(sharp, np.exp(2 * PRIOR[0]) / np.exp(2 * PRIOR[0]).sum(), rtol=1e-5)
    kept = np.exp(Sampling(min_p=0.4).log_probs(PRIOR)[0])
    np.testing.assert_allclose(kept, [0.625, 0.375, 0, 0], rtol=1e-5)  # at least 0.4 * 0.5
    both = np.exp(Sampling(0.5, 0.4).log_probs(PRIOR)[0])  # min-p is of the sharper one
    np.testing.assert_allclose(both, [1, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "shares"),
    [
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.51}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.81}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        ({"top_k": 3, "top_p": 0.6}, [0.625, 0.375, 0, 0]),
        ({"top_k": 3, "min_p": 0.5}, [0.625, 0.375, 0, 0]),
        ({"temperature": 0.5, "top_p": 0.7}, [0.25 / 0.34, 0.09 / 0.34, 0, 0]),
    ],
)
def test_draws_that_leave_out_the_unlikely(fields, shares):
    """By hand, and drawn: a chi-square test, at one in a thousand."""
    sampling, number = Sampling(**fields), 4000
    np.testing.assert_allclose(np.exp(sampling.log_probs(PRIOR)[0]), shares, rtol=1e-5, atol=1e-7)
    uniform = jax.random.uniform(jax.random.key(0), (number,))
    prior = jnp.broadcast_to(PRIOR, (number, 4))
    seen = np.bincount(np.asarray(jax.jit(sampling.draw)(prior, uniform)), minlength=4)
    expected = number * np.array(shares)
    assert (seen[expected == 0] == 0).all()
    likely = expected > 0
    chi_square = ((seen - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 16.27  # of at most 3 degrees of freedom


def test_tokens_are_drawn_in_proportion_and_greedily_at_temperature_0():
    uniform = (jnp.arange(1000) + 0.5) / 1000
    weights = jnp.broadcast_to(jnp.exp(PRIOR), (1000, 4))
    drawn = jax.jit(Sampling().pick)(3.0 * weights, uniform)  # they need not add up to one
    assert np.bincount(np.asarray(drawn), minlength=4).tolist() == [500, 300, 150, 50]
    assert (GREEDY.pick(weights, uniform) == 0).all()
    assert GREEDY.pick(jnp.array([[0.2, 0.4, 0.4]]), jnp.array([0.99])).tolist() == [1]

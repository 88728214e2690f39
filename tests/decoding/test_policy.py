"""Where steps and solutions end: sets of tokens, few or many."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.decoding.policy import among
from rlsearch.tasks.base import NO_TOKEN
from tests.toy import toy_format


@pytest.mark.parametrize("members", [(), (3,), (0, 7), (1, 2, 3, 5, 8), tuple(range(0, 50, 3))])
def test_a_set_holds_its_tokens_and_no_other(members):
    tokens = np.arange(NO_TOKEN, 60).reshape(-1, 1)
    found = among(jnp.array(tokens), members)
    assert found.shape == tokens.shape and found.dtype == bool
    assert (np.asarray(found) == np.isin(tokens, members)).all()


def test_what_ends_a_solution_ends_its_step_too():
    format = dataclasses.replace(toy_format(), step_ends=(1, 2), solution_ends=(4,))
    tokens = jnp.arange(5)
    assert format.ends_step(tokens).tolist() == [False, True, True, False, True]
    assert format.ends_solution(tokens).tolist() == [False] * 4 + [True]


def test_a_solution_is_whole_where_a_token_ends_it():
    format = dataclasses.replace(toy_format(), solution_ends=(3, 4))
    solutions = jnp.array([[[1, 2, 4], [3, NO_TOKEN, NO_TOKEN]], [[1, 2, 2], [NO_TOKEN] * 3]])
    assert format.is_whole(solutions).tolist() == [[True, True], [False, False]]
    assert dataclasses.replace(format, solution_ends=()).is_whole(solutions).all()

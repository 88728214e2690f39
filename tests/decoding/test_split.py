import dataclasses

import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.split import split_steps, step_ends
from tests.toy import PAD, C, ending_format, toy_format


def test_solutions_are_cut_behind_each_end_of_a_step():
    tokens = jnp.array([[2, 1, 3, 1, 4, 1], [2, 1, 3, 0, 0, 0]], jnp.int32)
    cut = split_steps(tokens, toy_format())
    np.testing.assert_array_equal(cut[0], [[2, 1], [3, 1], [4, 1]])
    np.testing.assert_array_equal(cut[1], [[2, 1], [3, 0], [0, 0]])


def test_the_places_where_steps_end():
    tokens = jnp.array([[2, 1, C, PAD, PAD, PAD], [2, 1, 3, 1, C, PAD], [2, 1, 3, PAD, PAD, PAD]])
    ends, present = step_ends(tokens, ending_format())
    np.testing.assert_array_equal(present, [[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    assert np.asarray(ends)[np.asarray(present)].tolist() == [1, 2, 1, 3, 4, 1]


def test_a_line_that_is_too_long_is_several_steps_as_it_was_written():
    format = dataclasses.replace(toy_format(), num_steps=4, max_step_length=2, max_length=7)
    tokens = jnp.array([[2, 3, 4, 1, 2, 1, PAD], [2, 1, 3, 4, 3, PAD, PAD]], jnp.int32)
    cut = split_steps(tokens, format)
    np.testing.assert_array_equal(cut[0], [[2, 3], [4, 1], [2, 1], [PAD, PAD]])
    np.testing.assert_array_equal(cut[1], [[2, 1], [3, 4], [3, PAD], [PAD, PAD]])
    ends, present = step_ends(tokens, format)
    assert np.asarray(ends)[np.asarray(present)].tolist() == [1, 3, 5, 1, 3]

"""The operations as tables are the operations as fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsearch.tasks.rational import OPERATORS, RationalWords, apply_operator

WORDS = RationalWords()
INDICES = st.integers(0, len(WORDS.values) - 1)


def test_values_are_said_once_in_lowest_terms():
    assert len(set(WORDS.values)) == len(WORDS.values)
    assert all(WORDS.values[whole] == whole for whole in range(WORDS.max_whole + 1))
    assert all(WORDS.values[WORDS.index[value]] == value for value in WORDS.values)
    assert min(WORDS.values) == 0


def test_rank_sorts():
    order = np.argsort(WORDS.rank)
    assert [WORDS.values[position] for position in order] == sorted(WORDS.values)


@settings(max_examples=500, deadline=None, database=None)
@given(st.integers(0, 3), INDICES, INDICES)
def test_table_is_exact(operator, a, b):
    expected = apply_operator(OPERATORS[operator], WORDS.values[a], WORDS.values[b])
    found = WORDS.results[operator, a, b]
    if expected is None or expected not in WORDS.index:
        assert found == -1
    else:
        assert found == WORDS.index[expected]


def test_small_table_is_exact_everywhere():
    words = RationalWords(max_whole=12, max_numerator=5, max_denominator=4)
    for operator, symbol in enumerate(OPERATORS):
        for a, left in enumerate(words.values):
            for b, right in enumerate(words.values):
                result = apply_operator(symbol, left, right)
                expected = -1 if result is None else words.index.get(result, -1)
                assert words.results[operator, a, b] == expected


def test_division_by_zero_has_no_result():
    assert apply_operator("/", Fraction(1), Fraction(0)) is None
    assert (WORDS.results[OPERATORS.index("/"), :, 0] == -1).all()

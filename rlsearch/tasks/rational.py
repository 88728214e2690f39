"""Exact rationals as words, and the four operations on them as lookup tables.

A language model reads words, and a jitted checker reads arrays; both need exact arithmetic.
`RationalWords` lists every rational the language can say, once. An operation on two of them is
then one gather, on the host and inside `jit` alike, and nothing is ever rounded.
"""

import dataclasses
import functools
import math
from fractions import Fraction

import numpy as np

OPERATORS = ("+", "-", "*", "/")


def apply_operator(operator: str, left: Fraction, right: Fraction) -> Fraction | None:
    """Returns `left operator right`, or None for a division by zero."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return left / right if right else None


@dataclasses.dataclass(frozen=True)
class RationalWords:
    """The rationals of the language: 0 to `max_whole`, and fractions in lowest terms.

    Negative numbers are left out: whatever makes a non-negative number through a negative one
    also makes it with the subtraction the other way round.
    """

    max_whole: int = 199
    max_numerator: int = 30
    max_denominator: int = 13

    @functools.cached_property
    def values(self) -> tuple[Fraction, ...]:
        """Every rational, whole numbers first: `values[n] == n` for `n <= max_whole`."""
        wholes = [Fraction(whole) for whole in range(self.max_whole + 1)]
        fractions = [
            Fraction(numerator, denominator)
            for denominator in range(2, self.max_denominator + 1)
            for numerator in range(1, self.max_numerator + 1)
            if math.gcd(numerator, denominator) == 1
        ]
        return tuple(wholes + fractions)

    @functools.cached_property
    def index(self) -> dict[Fraction, int]:
        """The position of each rational in `values`."""
        return {value: position for position, value in enumerate(self.values)}

    @functools.cached_property
    def rank(self) -> np.ndarray:
        """`[V]` int32, the place of each value when all are sorted by size."""
        order = sorted(range(len(self.values)), key=self.values.__getitem__)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return rank

    @functools.cached_property
    def results(self) -> np.ndarray:
        """`[4, V, V]` int16, the index of `a operator b`, or -1 where no word says it."""
        size = len(self.values)
        numerator = np.array([value.numerator for value in self.values], np.int64)
        denominator = np.array([value.denominator for value in self.values], np.int64)
        n_a, n_b = numerator[:, None], numerator[None, :]
        d_a, d_b = denominator[:, None], denominator[None, :]
        table = np.full((4, size, size), -1, np.int16)
        quotients = (
            (n_a * d_b + n_b * d_a, d_a * d_b),
            (n_a * d_b - n_b * d_a, d_a * d_b),
            (n_a * n_b, d_a * d_b),
            (n_a * d_b, d_a * n_b),
        )
        for operator, (top, bottom) in enumerate(quotients):
            top, bottom = np.broadcast_arrays(top, bottom)
            common = np.maximum(np.gcd(top, bottom), 1)
            top, bottom = top // common, bottom // common
            wholes = (bottom == 1) & (top >= 0) & (top <= self.max_whole)
            table[operator][wholes] = top[wholes]
            for position in range(self.max_whole + 1, size):
                value = self.values[position]
                table[operator][(top == value.numerator) & (bottom == value.denominator)] = position
        return table

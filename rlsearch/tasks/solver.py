"""The exact solver of number problems: for enumeration, splits and measuring only.

It says which problems have a solution. It never gives a label, a target or a goal to learn from.
"""

import functools
import itertools
from collections.abc import Callable
from fractions import Fraction

from rlsearch.tasks.rational import RationalWords

Numbers = tuple[int, ...]  # of a problem
Given = tuple[int | Fraction, ...]
Reachable = Callable[[Given], frozenset[Fraction]]


@functools.lru_cache(maxsize=65536)
def solvable(numbers: Given, goal: int, words: RationalWords | None = None) -> bool:
    """Tells whether + - * / make `goal` from `numbers`, each used once, in exact rationals.

    Args:
        numbers: up to about six numbers, none negative, in any order.
        goal: a whole number, not negative.
        words: if given, only results that have a word count on the way.
    """
    return makes(tuple(sorted(numbers)), Fraction(goal), reachable_from(words), words)


def reachable_from(words: RationalWords | None) -> Reachable:
    """A function from ascending numbers to all that can be made of them. It has its own cache.

    Negative numbers are left out: what is reached through one is reached, up to its sign, with
    the subtraction the other way round.
    """

    @functools.lru_cache(maxsize=4096)
    def reachable(numbers: Given) -> frozenset[Fraction]:
        if len(numbers) == 1:
            return frozenset({Fraction(numbers[0])})
        results = set()
        for part, rest in _parts(numbers):
            for a, b in itertools.product(reachable(part), reachable(rest)):
                results |= {a + b, abs(a - b), a * b}
                results |= {a / b} if b else set()
                results |= {b / a} if a else set()
        return frozenset(results if words is None else results & words.index.keys())

    return reachable


def makes(
    numbers: Given, goal: Fraction, reachable: Reachable, words: RationalWords | None
) -> bool:
    """Tells whether a last operation gives `goal`: of its operands the smaller part is listed."""
    if words is not None and goal not in words.index:
        return False
    if len(numbers) == 1:
        return goal == numbers[0]
    for part, rest in _parts(numbers):
        others = reachable(rest)
        for a in reachable(part):
            wanted = {goal - a, goal + a, a - goal}
            if a:
                wanted |= {goal / a, goal * a}
            if a and goal:
                wanted |= {a / goal}
            # Zero times anything, and zero by anything but zero, is zero: no division finds those.
            if not wanted.isdisjoint(others) or (goal == a == 0):
                return True
    return False


def _parts(numbers: Given) -> set[tuple[Given, Given]]:
    """All ways to deal `numbers` into two parts, the first not larger than the second."""
    places = range(len(numbers))
    parts = set()
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in itertools.combinations(places, size):
            part = tuple(numbers[place] for place in chosen)
            parts.add((part, tuple(numbers[place] for place in places if place not in chosen)))
    return parts

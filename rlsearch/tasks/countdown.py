"""Countdown: make a goal from 3 to 6 numbers, each used once, by + - * /.

As Game of 24, but with as many problems as anybody wants: numbers and goals are drawn. Which
numbers are held out is decided by a hash of them, so that no list of them is needed and no problem
that is learnt from, whatever its goal, has the numbers of one that is measured on. Training
problems have hindsight goals. The held-out ones have goals that are drawn uniformly, and the exact
solver says that each has a solution.

Letters: B batch, n numbers of a problem.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import check
from rlsearch.tasks.number_task import NumberTask
from rlsearch.tasks.solver import Numbers, solvable

HELD_OUT_SHARE = 16  # one in so many sets of numbers is held out
# A draw of a training problem fails where its numbers are held out or its goal does not fit. So
# many are made at once that all fail in fewer than one in a million.
DRAWS = 12


@dataclasses.dataclass(frozen=True)
class Countdown(NumberTask):
    """Countdown; see `rlsearch.tasks.base.Task`."""

    num_held_out: int = 100  # problems that are measured on
    split_seed: int = 24  # of the hash that holds numbers out
    num_numbers: int = 4  # given in a problem, each to be used once
    largest: int = 13  # of the numbers given
    max_goal: int = 100  # largest goal
    fraction_weight: float = 0.1  # weight, against 1, of a random step to a number not whole

    def __post_init__(self):
        check(1 <= self.num_held_out <= 1000, self, "num_held_out", "from 1 to 1000")
        check(0 <= self.split_seed < 2**31, self, "split_seed", "from 0 to 2**31 - 1")
        check(3 <= self.num_numbers <= 6, self, "num_numbers", "from 3 to 6")
        check(9 <= self.largest <= 99, self, "largest", "from 9 to 99")
        check(24 <= self.max_goal <= 199, self, "max_goal", "from 24 to 199")
        check(0 < self.fraction_weight <= 1, self, "fraction_weight", "in (0, 1]")
        most = self._most_held_out()
        valid = f"at most {most}, of {self.num_numbers} numbers up to {self.largest}"
        check(self.num_held_out <= most, self, "num_held_out", valid)

    def _most_held_out(self) -> int:
        """The sets of numbers that are held out; 1000 where there are surely more."""
        count = self.num_numbers
        if math.comb(self.largest + count - 1, count) >= 2000 * HELD_OUT_SHARE:
            return 1000
        every = itertools.combinations_with_replacement(range(1, self.largest + 1), count)
        return int(self.is_held_out(np.array(list(every))).sum())  # pyright: ignore

    def is_held_out(self, numbers: jax.Array) -> jax.Array:
        """See `NumberTask`; of `numbers [..., n]`, on the host too."""
        mixed = np.uint32(2 * self.split_seed + 1)
        for place in range(self.num_numbers):
            mixed = (mixed ^ numbers[..., place].astype(np.uint32)) * np.uint32(0x9E3779B1)
            mixed = mixed ^ (mixed >> np.uint32(15))
        return mixed % np.uint32(HELD_OUT_SHARE) == 0

    @functools.cached_property
    def held_out_problems(self) -> Sequence[tuple[Numbers, int]]:
        """`num_held_out` of them, no numbers twice, in the order in which they were drawn."""
        random, found = np.random.default_rng(self.split_seed), {}
        while len(found) < self.num_held_out:
            numbers = random.integers(1, self.largest + 1, (4096, self.num_numbers))
            numbers = np.sort(numbers, axis=1)
            goals = random.integers(1, self.max_goal + 1, len(numbers))
            for row in np.flatnonzero(self.is_held_out(numbers)):  # pyright: ignore
                given, goal = tuple(numbers[row].tolist()), int(goals[row])
                if len(found) < self.num_held_out and given not in found:
                    if solvable(given, goal, self.language.words):
                        found[given] = goal
        return list(found.items())

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """A training prompt `[P]` int32, with a hindsight goal. `key` is consumed."""
        prompts, _, _, valid = jax.vmap(self.draw_trace)(jax.random.split(key, DRAWS))
        return jnp.where(valid.any(), prompts[jnp.argmax(valid)], jnp.asarray(self._some_training))

    @functools.cached_property
    def _some_training(self) -> np.ndarray:
        """The prompt of ones, or of ones and twos, whose numbers are not held out."""
        count = self.num_numbers
        for twos in range(count + 1):
            numbers = np.array([1] * (count - twos) + [2] * twos)
            if not self.is_held_out(numbers[None])[0]:  # pyright: ignore
                return np.array(self.tokenizer.encode(self.language.prompt(tuple(numbers), 1)))
        raise AssertionError("all of them are held out, which one in 16 ** 4 seeds brings about")

    def parse_problem(self, text: str) -> str:
        """The prompt of what a user typed, such as `100 from 3 7 25 50`.

        Raises:
            ValueError: if it is no goal and numbers of the range, or has no solution.
        """
        example = "24 from " + " ".join(str(n) for n in (4, 9, 6, 3, 2, 1)[: self.num_numbers])
        goal, word, numbers = text.partition(" from ")
        if not word or not goal.strip().isdecimal() or len(goal) > 9:
            raise ValueError(
                f"problem is {text[:80]!r}: give a goal and numbers, such as {example!r}"
            )
        if not 1 <= int(goal) <= self.max_goal:
            raise ValueError(
                f"problem is {text[:80]!r}: its goal is {int(goal)}: "
                f"it must be from 1 to {self.max_goal}"
            )
        given = self.read_numbers(numbers, text, example.partition(" from ")[2])
        if not solvable(given, int(goal)):
            raise ValueError(
                f"problem is {text[:80]!r}: no sequence of + - * / makes {int(goal)} of it"
            )
        return self.language.prompt(given, int(goal))

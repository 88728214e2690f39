"""Countdown: make a goal from 3 to 6 numbers, each used once, by + - * /.

As Game of 24, but with as many problems as anybody wants: numbers and goals are drawn. Which
numbers are held out is decided by a hash of them, so that no list of them is needed and no problem
that is learnt from, whatever its goal, has the numbers of one that is measured on. Training
problems have hindsight goals. The held-out ones have goals that are drawn uniformly, and the exact
solver says that each has a solution.

Letters: B batch, n numbers of a problem.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import TaskConfig
from rlsearch.tasks.number_task import NumberTask
from rlsearch.tasks.solver import Numbers, solvable

HELD_OUT_SHARE = 16  # one in so many sets of numbers is held out
# A draw of a training problem fails where its numbers are held out or its goal does not fit. So
# many are made at once that all fail in fewer than one in a million.
DRAWS = 12


class Countdown(NumberTask):
    """The task `rlsearch.tasks.base.Task`, built from a `TaskConfig`.

    Raises:
        ValueError: if the config asks for a split that there is none of.
    """

    def __init__(self, config: TaskConfig):
        if config.split != "random":
            raise ValueError(f"task.split is {config.split!r}: countdown has 'random' only")
        super().__init__(config)

    def is_held_out(self, numbers: jax.Array) -> jax.Array:
        """See `NumberTask`; of `numbers [..., n]`, on the host too."""
        mixed = np.uint32(2 * self.config.split_seed + 1)
        for place in range(self.config.num_numbers):
            mixed = (mixed ^ numbers[..., place].astype(np.uint32)) * np.uint32(0x9E3779B1)
            mixed = mixed ^ (mixed >> np.uint32(15))
        return mixed % np.uint32(HELD_OUT_SHARE) == 0

    @functools.cached_property
    def held_out_problems(self) -> Sequence[tuple[Numbers, int]]:
        """`num_held_out` of them, no numbers twice, in the order in which they were drawn."""
        random, found = np.random.default_rng(self.config.split_seed), {}
        while len(found) < self.config.num_held_out:
            numbers = random.integers(1, self.config.largest + 1, (4096, self.config.num_numbers))
            numbers = np.sort(numbers, axis=1)
            goals = random.integers(1, self.config.max_goal + 1, len(numbers))
            for row in np.flatnonzero(self.is_held_out(numbers)):  # pyright: ignore
                given, goal = tuple(numbers[row].tolist()), int(goals[row])
                if len(found) < self.config.num_held_out and given not in found:
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
        count = self.config.num_numbers
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
        example = "24 from " + " ".join(
            str(n) for n in (4, 9, 6, 3, 2, 1)[: self.config.num_numbers]
        )
        goal, word, numbers = text.partition(" from ")
        if not word or not goal.strip().isdecimal() or len(goal) > 9:
            raise ValueError(
                f"problem is {text[:80]!r}: give a goal and numbers, such as {example!r}"
            )
        if not 1 <= int(goal) <= self.config.max_goal:
            raise ValueError(
                f"problem is {text[:80]!r}: its goal is {int(goal)}: "
                f"it must be from 1 to {self.config.max_goal}"
            )
        given = self.read_numbers(numbers, text, example.partition(" from ")[2])
        if not solvable(given, int(goal)):
            raise ValueError(
                f"problem is {text[:80]!r}: no sequence of + - * / makes {int(goal)} of it"
            )
        return self.language.prompt(given, int(goal))

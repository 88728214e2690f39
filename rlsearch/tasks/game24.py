"""Game of 24: make 24 from four numbers of 1 to 13, each used once, by + - * /.

A solution is three number steps (see `number_steps`). What is learnt from is never solved here:
`draw_trace` plays random exact steps and takes the number they end on as the goal, in hindsight.
The exact solver has three uses and no other: to list which puzzles have a solution, so that they
can be split into training problems and held-out ones; to say that a user's puzzle has none; and to
measure. It never gives a label, a target or a goal.
"""

import functools
import itertools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import TaskConfig
from rlsearch.tasks.number_task import NumberTask
from rlsearch.tasks.rational import RationalWords
from rlsearch.tasks.solver import Numbers, makes, reachable_from, solvable

NUM_NUMBERS, LARGEST, GOAL = 4, 13, 24
BENCHMARK_ROWS = slice(900, 1000)  # rows of 24.csv, from 0, on which Tree of Thoughts reports


@functools.cache
def all_puzzles(words: RationalWords | None = None) -> tuple[Numbers, ...]:
    """The 1,362 puzzles that have a solution, numbers ascending, in lexicographic order."""
    reachable, goal = reachable_from(words), Fraction(GOAL)
    puzzles = itertools.combinations_with_replacement(range(1, LARGEST + 1), NUM_NUMBERS)
    return tuple(puzzle for puzzle in puzzles if makes(puzzle, goal, reachable, words))


class Game24(NumberTask):
    """The task `rlsearch.tasks.base.Task`, built from a `TaskConfig`.

    The split "random" holds out `num_held_out` solvable puzzles drawn with `split_seed`; "tot"
    holds out rows 900 to 999 of the public benchmark. All other solvable puzzles are for training.

    Raises:
        ValueError: for other numbers than the game's.
        FileNotFoundError, ValueError: with the split "tot", see `rlsearch.data.game24`.
    """

    def __init__(self, config: TaskConfig):
        for field, value in (("num_numbers", NUM_NUMBERS), ("largest", LARGEST)):
            if getattr(config, field) != value:
                raise ValueError(
                    f"task.{field} is {getattr(config, field)}: in Game of 24 it must be {value}"
                )
        super().__init__(config)
        self.held_out = _held_out_puzzles(config)
        held_out = set(self.held_out)
        self.training = tuple(puzzle for puzzle in all_puzzles() if puzzle not in held_out)
        self._training_numbers = np.array(self.training, np.int32)
        self._is_held_out = np.zeros((LARGEST + 1,) * NUM_NUMBERS, bool)
        self._is_held_out[tuple(np.array(self.held_out).T)] = True

    @property
    def held_out_problems(self) -> Sequence[tuple[Numbers, int]]:
        """Ascending for "random", in the file's order for "tot"."""
        return [(numbers, GOAL) for numbers in self.held_out]

    def is_held_out(self, numbers: jax.Array) -> jax.Array:
        """See `NumberTask`."""
        return jnp.asarray(self._is_held_out)[tuple(numbers)]

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """A prompt `[P]` int32, uniform over the training puzzles. `key` is consumed."""
        row = jax.random.randint(key, (), 0, len(self.training))
        numbers = jnp.asarray(self._training_numbers)[row]
        return self.language.prompt_tokens(numbers, jnp.int32(GOAL))

    def other_goal(self, reached: jax.Array, key: jax.Array) -> jax.Array:
        """24 half of the time, so that it is seen with numbers it was not reached from too."""
        return jnp.where(jax.random.bernoulli(key), GOAL, reached)

    def parse_problem(self, text: str) -> str:
        """The prompt of four numbers a user typed, with spaces or commas between them.

        Raises:
            ValueError: if they are not four whole numbers of 1 to 13, or cannot make 24.
        """
        numbers = self.read_numbers(text, text, "4 9 10 13")
        if not solvable(numbers, GOAL):
            raise ValueError(f"problem is {text[:80]!r}: no sequence of + - * / makes {GOAL} of it")
        return self.language.prompt(numbers, GOAL)


def _held_out_puzzles(config: TaskConfig) -> tuple[Numbers, ...]:
    if config.split == "tot":
        # TFDS takes seconds to import, and only this split reads a file.
        from rlsearch.data.game24 import benchmark_rows

        return tuple(benchmark_rows(config.data_dir)[BENCHMARK_ROWS])
    puzzles = all_puzzles()
    random = np.random.default_rng(config.split_seed)
    chosen = random.choice(len(puzzles), config.num_held_out, replace=False)
    return tuple(puzzles[row] for row in sorted(chosen))

"""Game of 24: make 24 from four numbers of 1 to 13, each used once, by + - * /.

A solution is three number steps (see `number_steps`). What is learnt from is never solved here:
`draw_trace` plays random exact steps and takes the number they end on as the goal, in hindsight.
The exact solver has three uses and no other: to list which puzzles have a solution, so that they
can be split into training problems and held-out ones; to say that a user's puzzle has none; and to
measure. It never gives a label, a target or a goal.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import check
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


@dataclasses.dataclass(frozen=True)
class Game24(NumberTask):
    """Game of 24; see `rlsearch.tasks.base.Task`.

    The split "random" holds out `num_held_out` solvable puzzles drawn with `split_seed`; "tot"
    holds out rows 900 to 999 of the public benchmark. All other solvable puzzles are for training.

    Its problems are listed when they are first asked for. Raises FileNotFoundError and ValueError
    then, with the split "tot": see `rlsearch.data.game24`.
    """

    split: str = "random"  # "random" holds out by seed; "tot" the rows of the public benchmark
    num_held_out: int = 100  # puzzles held out of training by the random split
    split_seed: int = 24  # seed of the random split
    max_goal: int = 100  # largest number that may be a goal of random traces
    fraction_weight: float = 0.1  # weight, against 1, of a random step to a number not whole
    data_dir: str = ""  # folder with the benchmark's file; empty: the TFDS data folder

    num_numbers = NUM_NUMBERS
    largest = LARGEST

    def __post_init__(self):
        check(self.split in ("random", "tot"), self, "split", "'random' or 'tot'")
        check(1 <= self.num_held_out <= 1000, self, "num_held_out", "from 1 to 1000")
        check(0 <= self.split_seed < 2**63, self, "split_seed", "from 0 to 2**63 - 1")
        check(24 <= self.max_goal <= 199, self, "max_goal", "from 24 to 199")
        check(0 < self.fraction_weight <= 1, self, "fraction_weight", "in (0, 1]")

    @functools.cached_property
    def held_out(self) -> tuple[Numbers, ...]:
        """The puzzles that are held out of training."""
        return _held_out_puzzles(self)

    @functools.cached_property
    def training(self) -> tuple[Numbers, ...]:
        """All other puzzles that have a solution."""
        held_out = set(self.held_out)
        return tuple(puzzle for puzzle in all_puzzles() if puzzle not in held_out)

    @functools.cached_property
    def _training_numbers(self) -> np.ndarray:
        return np.array(self.training, np.int32)

    @functools.cached_property
    def _is_held_out(self) -> np.ndarray:
        table = np.zeros((LARGEST + 1,) * NUM_NUMBERS, bool)
        table[tuple(np.array(self.held_out).T)] = True
        return table

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


def _held_out_puzzles(task: Game24) -> tuple[Numbers, ...]:
    if task.split == "tot":
        # TFDS takes seconds to import, and only this split reads a file.
        from rlsearch.data.game24 import benchmark_rows

        return tuple(benchmark_rows(task.data_dir)[BENCHMARK_ROWS])
    puzzles = all_puzzles()
    random = np.random.default_rng(task.split_seed)
    chosen = random.choice(len(puzzles), task.num_held_out, replace=False)
    return tuple(puzzles[row] for row in sorted(chosen))

"""Game of 24: make 24 from four numbers of 1 to 13, each used once, by + - * /.

A solution is three number steps (see `number_steps`). What is learnt from is never solved here:
`draw_trace` plays random exact steps and takes the number they end on as the goal, in hindsight.
The exact solver below has three uses and no other: to list which puzzles have a solution, so that
they can be split into training problems and held-out ones; to say that a user's puzzle has none;
and to measure. It never gives a label, a target or a goal.

Letters: P tokens of a prompt, S steps, L tokens of a step, B batch, T tokens of a solution.
"""

import functools
import itertools
import re
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import TaskConfig
from rlsearch.data.words import WordTokenizer
from rlsearch.tasks.number_steps import NumberSteps
from rlsearch.tasks.rational import RationalWords

NUM_NUMBERS, LARGEST, GOAL = 4, 13, 24
BENCHMARK_ROWS = slice(900, 1000)  # rows of 24.csv, from 0, on which Tree of Thoughts reports

Numbers = tuple[int, ...]
Reachable = Callable[[Numbers], frozenset[Fraction]]


# ---- The solver: for enumeration, splits and measuring only ------------------------------------


def solvable(numbers: Numbers, goal: int, words: RationalWords | None = None) -> bool:
    """Whether + - * / make `goal` from `numbers`, each used once, in exact rationals.

    Args:
        numbers: up to about six positive whole numbers, in any order.
        goal: a whole number, not negative.
        words: if given, only results that have a word count on the way.
    """
    return _makes(tuple(sorted(numbers)), Fraction(goal), _reachable(words), words)


@functools.cache
def all_puzzles(words: RationalWords | None = None) -> tuple[Numbers, ...]:
    """The 1,362 puzzles that have a solution, numbers ascending, in lexicographic order."""
    reachable, goal = _reachable(words), Fraction(GOAL)
    puzzles = itertools.combinations_with_replacement(range(1, LARGEST + 1), NUM_NUMBERS)
    return tuple(puzzle for puzzle in puzzles if _makes(puzzle, goal, reachable, words))


def _reachable(words: RationalWords | None) -> Reachable:
    """A function from ascending numbers to all that can be made of them. It has its own cache.

    Negative numbers are left out: what is reached through one is reached, up to its sign, with
    the subtraction the other way round.
    """

    @functools.lru_cache(maxsize=4096)
    def reachable(numbers: Numbers) -> frozenset[Fraction]:
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


def _makes(
    numbers: Numbers, goal: Fraction, reachable: Reachable, words: RationalWords | None
) -> bool:
    """Whether a last operation gives `goal`: of its two operands the smaller part is listed."""
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


def _parts(numbers: Numbers) -> set[tuple[Numbers, Numbers]]:
    """All ways to deal `numbers` into two parts, the first not larger than the second."""
    places = range(len(numbers))
    parts = set()
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in itertools.combinations(places, size):
            part = tuple(numbers[place] for place in chosen)
            parts.add((part, tuple(numbers[place] for place in places if place not in chosen)))
    return parts


# ---- The task ----------------------------------------------------------------------------------


class Game24:
    """The task `rlsearch.tasks.base.Task`, built from a `TaskConfig`.

    The split "random" holds out `num_held_out` solvable puzzles drawn with `split_seed`; "tot"
    holds out rows 900 to 999 of the public benchmark. All other solvable puzzles are for training.

    Raises:
        FileNotFoundError, ValueError: with the split "tot", see `rlsearch.data.game24`.
    """

    def __init__(self, config: TaskConfig):
        self.config = config
        self.language = NumberSteps(NUM_NUMBERS)
        self.held_out = _held_out_puzzles(config)
        held_out = set(self.held_out)
        self.training = tuple(puzzle for puzzle in all_puzzles() if puzzle not in held_out)
        self._training_numbers = np.array(self.training, np.int32)
        self._is_held_out = np.zeros((LARGEST + 1,) * NUM_NUMBERS, bool)
        self._is_held_out[tuple(np.array(self.held_out).T)] = True

    @property
    def tokenizer(self) -> WordTokenizer:
        return self.language.tokenizer

    @property
    def vocab_size(self) -> int:
        return self.language.vocab_size

    @property
    def pad(self) -> int:
        return self.tokenizer.pad

    @property
    def end_of_step(self) -> int:
        return self.language.newline

    @property
    def prompt_length(self) -> int:
        return self.language.prompt_length

    @property
    def num_steps(self) -> int:
        return self.language.num_steps

    @property
    def max_step_length(self) -> int:
        return self.language.max_step_length

    @property
    def solution_length(self) -> int:
        return self.language.solution_length

    @property
    def grammar(self) -> np.ndarray:
        """`[T, vocab_size]` bool, the tokens allowed at each place of a solution."""
        return self.language.grammar

    def held_out_texts(self) -> list[str]:
        """The held-out prompts: ascending for "random", in the file's order for "tot"."""
        return [self.language.prompt(numbers, GOAL) for numbers in self.held_out]

    @property
    def consequences(self) -> np.ndarray:
        """See `Task`."""
        return self.language.consequences

    def held_out_prompts(self) -> np.ndarray:
        """`[num, P]` int32, the same problems as tokens, in the same order."""
        texts = self.held_out_texts()
        return np.array([self.tokenizer.encode(text) for text in texts], np.int32)

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """Whether `solution` solves `prompt`. Safe on any text, and bounded in time."""
        return self.language.check(prompt, solution)

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """As `check`, on the device: `prompts [B, P]`, `solutions [B, >= T]`; `[B]` bool."""
        return self.language.check_tokens(prompts, solutions)

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """See `Task`: the number that is left in the end."""
        return self.language.answers(prompts, solutions)

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """A prompt `[P]` int32, uniform over the training puzzles. `key` is consumed."""
        row = jax.random.randint(key, (), 0, len(self.training))
        numbers = jnp.asarray(self._training_numbers)[row]
        return self.language.prompt_tokens(numbers, jnp.int32(GOAL))

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Random exact steps from random numbers, and as the goal what they ended on.

        The goal of the other prompt is 24 half of the time, so that the task's own goal is seen
        with numbers it was not reached from, and else what an independent trace ended on.

        Args:
            key: a typed key, consumed.

        Returns:
            prompt `[P]`, other prompt `[P]`, steps `[S, L]`, all int32, and whether the draw may
            be learnt from `[]` bool: its goal fits and its numbers are not a held-out puzzle. The
            other prompt may by chance be the same as the prompt.
        """
        own_key, other_key, coin_key = jax.random.split(key, 3)
        numbers, steps, goal, fits = self._random_trace(own_key)
        valid = fits & ~jnp.asarray(self._is_held_out)[tuple(numbers)]
        _, _, other_goal, _ = self._random_trace(other_key)
        other_goal = jnp.where(jax.random.bernoulli(coin_key), GOAL, other_goal)
        prompt = self.language.prompt_tokens(numbers, goal)
        other_prompt = self.language.prompt_tokens(numbers, other_goal)
        return prompt, other_prompt, steps, valid

    def _random_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Numbers `[n]`, ascending, steps `[S, L]`, goal `[]` from 1 to `max_goal`, fits `[]`."""
        numbers_key, steps_key = jax.random.split(key)
        numbers = jax.random.randint(numbers_key, (NUM_NUMBERS,), 1, LARGEST + 1, jnp.int32)
        numbers = jnp.sort(numbers)
        fraction_weight, max_goal = self.config.fraction_weight, self.config.max_goal
        steps, goal, fits = self.language.random_trace(
            steps_key, numbers, fraction_weight, max_goal
        )
        return numbers, steps, jnp.clip(goal, 1, max_goal), fits

    def parse_problem(self, text: str) -> str:
        """The prompt of four numbers a user typed, with spaces or commas between them.

        Raises:
            ValueError: if they are not four whole numbers of 1 to 13, or cannot make 24.
        """
        said = f"problem is {text[:80]!r}"
        example = f"give {NUM_NUMBERS} whole numbers from 1 to {LARGEST}, such as '4 9 10 13'"
        numbers = []
        for word in re.findall(r"[^\s,]+", text):
            # Past three digits nothing is in range, and `int` may refuse to read it.
            number = int(word) if re.fullmatch("[0-9]{1,3}", word) else 0
            if not 1 <= number <= LARGEST:
                raise ValueError(f"{said}: {word[:20]!r} is not in range: {example}")
            numbers.append(number)
        if len(numbers) != NUM_NUMBERS:
            count = f"{len(numbers)} number{'' if len(numbers) == 1 else 's'}"
            raise ValueError(f"{said}: it has {count}: {example}")
        if not solvable(tuple(numbers), GOAL):
            raise ValueError(f"{said}: no sequence of + - * / makes {GOAL} of it")
        return self.language.prompt(tuple(numbers), GOAL)


def _held_out_puzzles(config: TaskConfig) -> tuple[Numbers, ...]:
    if config.split == "tot":
        # TFDS takes seconds to import, and only this split reads a file.
        from rlsearch.data.game24 import benchmark_rows

        return tuple(benchmark_rows(config.data_dir)[BENCHMARK_ROWS])
    puzzles = all_puzzles()
    random = np.random.default_rng(config.split_seed)
    chosen = random.choice(len(puzzles), config.num_held_out, replace=False)
    return tuple(puzzles[row] for row in sorted(chosen))

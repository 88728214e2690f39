"""The parts that all tasks in the language of number steps share: words, checkers and hindsight
traces.

Letters: P tokens of a prompt, S steps, L tokens of a step, B batch, T tokens of a solution.
"""

import abc
import functools
import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.data.words import WordTokenizer
from rlsearch.tasks.number_steps import NumberSteps
from rlsearch.tasks.solver import Numbers, solvable


class NumberTask(abc.ABC):
    """The part of `rlsearch.tasks.base.Task` that is the same for all of them.

    A task is a frozen dataclass with the fields below. It says which problems are held out
    (`held_out_problems` in their order, `is_held_out` of any numbers on the device), what its own
    problems are and how a user types one.
    """

    num_numbers: int  # given in a problem, each to be used once
    largest: int  # of the numbers given
    max_goal: int  # largest number that may be a goal of random traces
    fraction_weight: float  # weight, against 1, of a random step to a number not whole

    @functools.cached_property
    def language(self) -> NumberSteps:
        """The words and lines of its solutions."""
        return NumberSteps(self.num_numbers)

    @property
    @abc.abstractmethod
    def held_out_problems(self) -> Sequence[tuple[Numbers, int]]:
        """The numbers and the goal of each."""

    @abc.abstractmethod
    def is_held_out(self, numbers: jax.Array) -> jax.Array:
        """`[]` bool, on the device: nothing may be learnt from `numbers [n]`, ascending."""

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
    def end_of_solution(self) -> int:
        return -1

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

    @property
    def consequences(self) -> np.ndarray:
        """See `Task`."""
        return self.language.consequences

    def held_out_texts(self) -> list[str]:
        """The held-out prompts, in the order of `held_out_problems`."""
        return [self.language.prompt(*problem) for problem in self.held_out_problems]

    def held_out_prompts(self) -> np.ndarray:
        """`[num, P]` int32, the same problems as tokens, in the same order."""
        texts = self.held_out_texts()
        return np.array([self.tokenizer.encode(text) for text in texts], np.int32)

    def holds_out(self, prompts: np.ndarray) -> np.ndarray:
        """`[B]` bool, which of `prompts [B, P]` nothing may be learnt from: those with the numbers
        of a held-out problem, in any order and with any goal."""
        numbers = np.sort(prompts[:, 2:-1] - self.language.first_number, axis=1)
        return np.asarray(jax.vmap(self.is_held_out)(jnp.asarray(numbers)))

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """Tells whether `solution` solves `prompt`. Safe on any text, and bounded in time."""
        return self.language.check(prompt, solution)

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """Does what `check` does, on the device: `prompts [B, P]`, `solutions [B, >= T]`; `[B]`
        bool."""
        return self.language.check_tokens(prompts, solutions)

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """See `Task`: the number that is left in the end."""
        return self.language.answers(prompts, solutions)

    def step_labels(self, prompts: np.ndarray, solutions: np.ndarray) -> np.ndarray:
        """`[B, S]` bool, whether the lines up to each are right and the goal can still be reached.

        See `Task`. The exact solver says so: it is for measuring.
        """
        left = jnp.asarray(prompts[:, 2:-1] - self.language.first_number)
        goals = np.asarray(prompts[:, 0]) - self.language.first_number
        right, start, labels = np.ones(len(prompts), bool), 0, []
        for step in range(self.num_steps):
            end = start + self.language.step_length(step)
            right_step, left = self.language.check_step(left, jnp.asarray(solutions[:, start:end]))
            right, start = right & np.asarray(right_step), end
            values = self.language.words.values
            labels.append(
                [
                    bool(ok) and solvable(tuple(values[n] for n in numbers), int(goal))
                    for ok, numbers, goal in zip(right, np.asarray(left), goals, strict=True)
                ]
            )
        return np.array(labels).T

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Random exact steps from random numbers, and as the goal what they ended on.

        Args:
            key: a typed key, consumed.

        Returns:
            prompt `[P]`, other prompt `[P]`, steps `[S, L]`, all int32, and whether the draw may
            be learnt from `[]` bool: its goal fits and its numbers are not held out. The other
            prompt may by chance be the same as the prompt.
        """
        own_key, other_key, coin_key = jax.random.split(key, 3)
        numbers, steps, goal, fits = self._random_trace(own_key)
        valid = fits & ~self.is_held_out(numbers)
        _, _, other_goal, _ = self._random_trace(other_key)
        other_goal = self.other_goal(other_goal, coin_key)
        prompt = self.language.prompt_tokens(numbers, goal)
        other_prompt = self.language.prompt_tokens(numbers, other_goal)
        return prompt, other_prompt, steps, valid

    def other_goal(self, reached: jax.Array, key: jax.Array) -> jax.Array:
        """The goal of the other prompt `[]`; by default what an independent trace `reached`."""
        del key
        return reached

    def _random_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Numbers `[n]`, ascending, steps `[S, L]`, goal `[]` from 1 to `max_goal`, fits `[]`."""
        numbers_key, steps_key = jax.random.split(key)
        shape = (self.num_numbers,)
        numbers = jax.random.randint(numbers_key, shape, 1, self.largest + 1, jnp.int32)
        numbers = jnp.sort(numbers)
        fraction_weight, max_goal = self.fraction_weight, self.max_goal
        steps, goal, fits = self.language.random_trace(
            steps_key, numbers, fraction_weight, max_goal
        )
        return numbers, steps, jnp.clip(goal, 1, max_goal), fits

    def read_numbers(self, listed: str, text: str, example: str) -> Numbers:
        """The numbers `listed` in what a user typed, with spaces or commas between them.

        Raises:
            ValueError: if they are not as many whole numbers of the range as there must be.
        """
        said, count, largest = (
            f"problem is {text[:80]!r}",
            self.num_numbers,
            self.largest,
        )
        example = f"give {count} whole numbers from 1 to {largest}, such as {example!r}"
        numbers = []
        for word in re.findall(r"[^\s,]+", listed):
            # Past three digits nothing is in range, and `int` may refuse to read it.
            number = int(word) if re.fullmatch("[0-9]{1,3}", word) else 0
            if not 1 <= number <= largest:
                raise ValueError(f"{said}: {word[:20]!r} is not in range: {example}")
            numbers.append(number)
        if len(numbers) != count:
            found = f"{len(numbers)} number{'' if len(numbers) == 1 else 's'}"
            raise ValueError(f"{said}: it has {found}: {example}")
        return tuple(numbers)

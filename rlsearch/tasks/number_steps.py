"""The language of number steps: make a goal from some numbers, one operation a line.

A prompt is `24 from 4 9 10 13` and a solution is one line a step; `->` is followed by all the
numbers that are left:

    13 - 9 -> 4 4 10
    10 - 4 -> 6 4
    6 * 4 -> 24

The same rules are written twice: `check` judges text on the host and trusts nothing, `check_tokens`
judges token ids inside `jit`. Both accept any order of the operands and of the numbers left; a
step is right when its two numbers were there, its arithmetic is exact and what is left is right.

Letters: n numbers in the prompt, B batch, T tokens of a solution, V numbers that have a word.
"""

import dataclasses
import functools
import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.data.words import WordTokenizer
from rlsearch.tasks.rational import OPERATORS, RationalWords, apply_operator

NEWLINE, FROM, ARROW = "\n", "from", "->"
MAX_TEXT_LENGTH = 4096  # characters; the longest right solution of six numbers has under 200


@dataclasses.dataclass(frozen=True)
class NumberSteps:
    """Vocabulary, grammar, checkers and random traces for problems of `num_numbers` numbers."""

    num_numbers: int = 4
    words: RationalWords = RationalWords()

    # ---- Vocabulary ------------------------------------------------------------------------

    @functools.cached_property
    def tokenizer(self) -> WordTokenizer:
        """One token a word."""
        numbers = [str(value) for value in self.words.values]
        return WordTokenizer([NEWLINE, FROM, ARROW, *OPERATORS, *numbers])

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def newline(self) -> int:
        """The token that ends a line: a step is over when it is drawn."""
        return self.tokenizer.index[NEWLINE]

    @property
    def first_operator(self) -> int:
        return self.tokenizer.index[OPERATORS[0]]

    @property
    def first_number(self) -> int:
        """Token of the number 0; token of number index i is `first_number + i`."""
        return self.tokenizer.index["0"]

    # ---- Grammar ---------------------------------------------------------------------------

    @property
    def prompt_length(self) -> int:
        """Tokens of a prompt: goal, `from`, the numbers, newline."""
        return self.num_numbers + 3

    @property
    def max_step_length(self) -> int:
        return self.step_length(0)

    def step_length(self, step: int) -> int:
        """Tokens of line `step`: `a op b ->`, the numbers left, newline."""
        return 5 + self.num_numbers - 1 - step

    @property
    def num_steps(self) -> int:
        return self.num_numbers - 1

    @property
    def solution_length(self) -> int:
        return sum(self.step_length(step) for step in range(self.num_steps))

    @functools.cached_property
    def grammar(self) -> np.ndarray:
        """`[T, vocab]` bool: the tokens that the grammar allows at each place of a solution.

        The grammar knows kinds of words only (number, operator, arrow, newline), never which
        number: right or wrong arithmetic is all the same to it.
        """
        number = np.zeros(self.vocab_size, bool)
        number[self.first_number :] = True
        operator = np.zeros(self.vocab_size, bool)
        operator[self.first_operator : self.first_operator + len(OPERATORS)] = True
        arrow = np.arange(self.vocab_size) == self.tokenizer.index[ARROW]
        newline = np.arange(self.vocab_size) == self.newline
        lines = [
            [number, operator, number, arrow, *[number] * (self.num_numbers - 1 - step), newline]
            for step in range(self.num_steps)
        ]
        return np.array(list(itertools.chain.from_iterable(lines)))

    @functools.cached_property
    def consequences(self) -> np.ndarray:
        """`[num_steps, max_step_length]` bool: what stands behind an arrow is no choice."""
        place = np.arange(self.max_step_length)
        lengths = np.array([self.step_length(step) for step in range(self.num_steps)])
        return (place > 3) & (place < lengths[:, None])

    def prompt(self, numbers: tuple[int, ...], goal: int) -> str:
        """The text of a problem. Whatever the order given, the numbers are said ascending."""
        return f"{goal} {FROM} {' '.join(str(number) for number in sorted(numbers))}{NEWLINE}"

    def prompt_tokens(self, numbers: jax.Array, goal: jax.Array) -> jax.Array:
        """The tokens of prompts: `numbers [..., n]` ascending, `goal [...]`, both whole."""
        goal = (goal + self.first_number)[..., None]
        middle = jnp.full_like(goal, self.tokenizer.index[FROM])
        end = jnp.full_like(goal, self.newline)
        return jnp.concatenate([goal, middle, numbers + self.first_number, end], axis=-1)

    # ---- Checkers --------------------------------------------------------------------------

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """Tells whether `solution` solves the problem that `prompt` states. Safe on any text.

        Args:
            prompt: a problem as `prompt` writes it.
            solution: what a model wrote. Bytes that are not UTF-8 are simply wrong, and so is
                anything over `MAX_TEXT_LENGTH` characters: the time taken is bounded.
        """
        words = self._lines(solution)
        question = self._lines(prompt)
        if words is None or question is None or len(question) != 1:
            return False
        goal, left = self._number(question[0][0]), [self._number(w) for w in question[0][2:]]
        if question[0][1] != FROM or goal is None or None in left or len(words) != len(left) - 1:
            return False
        for line in words:
            if len(line) != 4 + len(left) - 1 or line[1] not in OPERATORS or line[3] != ARROW:
                return False
            a, b = self._number(line[0]), self._number(line[2])
            stated = [self._number(word) for word in line[4:]]
            if a is None or b is None or None in stated or a not in left:
                return False
            left.remove(a)
            if b not in left:
                return False
            left.remove(b)
            left.append(apply_operator(line[1], a, b))
            # A division by zero leaves None behind, which no stated number equals.
            if sorted(map(str, left)) != sorted(map(str, stated)):
                return False
        return left == [goal]

    def _lines(self, text: str | bytes) -> list[list[str]] | None:
        """Splits text into lines of words exactly as the tokenizer reads it, or None."""
        if isinstance(text, bytes):
            try:
                text = text[: 4 * MAX_TEXT_LENGTH + 1].decode()
            except UnicodeDecodeError:
                return None
        if len(text) > MAX_TEXT_LENGTH or not text.rstrip(" ").endswith(NEWLINE):
            return None
        lines = [[word for word in line.split(" ") if word] for line in text.split(NEWLINE)[:-1]]
        return lines if all(len(line) >= 3 for line in lines) else None

    def _number(self, word: str) -> Fraction | None:
        """The rational that a word says, or None if the language has no such word."""
        position = self.tokenizer.index.get(word, -1) - self.first_number
        return self.words.values[position] if position >= 0 else None

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """The device checker: agrees with `check` on the decoded text.

        Args:
            prompts: `[B, prompt_length]` int32.
            solutions: `[B, >= solution_length]` int32, padded behind the last newline.

        Returns:
            `[B]` bool.
        """
        left = prompts[:, 2:-1] - self.first_number
        goal = prompts[:, 0] - self.first_number
        right = (prompts[:, 1] == self.tokenizer.index[FROM]) & (prompts[:, -1] == self.newline)
        start = 0
        for step in range(self.num_steps):
            end = start + self.step_length(step)
            right_step, left = self.check_step(left, solutions[:, start:end])
            right, start = right & right_step, end
        padded = (solutions[:, start:] == self.tokenizer.pad).all(axis=1)
        return right & (left[:, 0] == goal) & padded

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B]` int32, the number that the last line leaves; -1 where there is none."""
        del prompts
        last = solutions[:, self.solution_length - 2] - self.first_number
        complete = solutions[:, self.solution_length - 1] == self.newline
        return jnp.where(complete & (last >= 0), last, -1)

    def check_step(self, left: jax.Array, line: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Judges one line.

        Args:
            left: `[B, m]` int32, number indices before the step.
            line: `[B, m + 4]` int32, the line's tokens, its newline included.

        Returns:
            `[B]` bool whether the line is right, and `[B, m - 1]` what it says is left.
        """
        operator = line[:, 1] - self.first_operator
        a, b = line[:, 0] - self.first_number, line[:, 2] - self.first_number
        stated = line[:, 4:-1] - self.first_number
        form = (operator >= 0) & (operator < len(OPERATORS))
        form &= (line[:, 3] == self.tokenizer.index[ARROW]) & (line[:, -1] == self.newline)
        form &= (a >= 0) & (b >= 0) & (stated >= 0).all(axis=1)
        gone_a = _first(left == a[:, None])
        gone_b = _first((left == b[:, None]) & ~gone_a)
        form &= gone_a.any(axis=1) & gone_b.any(axis=1)
        result = self.result(jnp.clip(operator, 0, len(OPERATORS) - 1), a, b)
        # What is used sorts behind everything else, so that the rest lies in front.
        rest = jnp.sort(jnp.where(gone_a | gone_b, len(self.words.values), left), axis=1)
        after = jnp.concatenate([result[:, None], rest[:, : left.shape[1] - 2]], axis=1)
        same = (jnp.sort(after, axis=1) == jnp.sort(stated, axis=1)).all(axis=1)
        return form & same & (result >= 0), stated

    def result(self, operator: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        """Number index of `a operator b`, or -1 where the language has no word for it."""
        last = len(self.words.values) - 1
        table = jnp.asarray(self.words.results)
        return table[operator, jnp.clip(a, 0, last), jnp.clip(b, 0, last)].astype(jnp.int32)

    # ---- Random traces ---------------------------------------------------------------------

    def random_trace(
        self, key: jax.Array, numbers: jax.Array, fraction_weight: float, max_goal: int
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Random valid steps from `numbers`: exact arithmetic, and no thought of any goal.

        Each step is drawn among all pairs and operations whose result has a word; results that
        are not whole have weight `fraction_weight` against 1. The order of two operands is
        larger first, except in divisions. The last step is drawn among those that end on a whole
        number from 1 to `max_goal`, if there is one.

        Args:
            key: a typed key, consumed.
            numbers: `[n]` int32, ascending.
            fraction_weight: relative weight of a step to a number that is not whole, in (0, 1].
            max_goal: the largest number that may become a goal.

        Returns:
            steps `[num_steps, max_step_length]` int32, the number reached `[]` int32, and whether
            it may stand as a goal `[]` bool.
        """
        rank = jnp.asarray(self.words.rank)
        left, lines, possible = numbers, [], jnp.bool_(True)
        for step, step_key in enumerate(jax.random.split(key, self.num_steps)):
            size = self.num_numbers - step
            pairs = np.array(list(itertools.permutations(range(size), 2)), np.int32)
            first, second = jnp.asarray(pairs[:, 0]), jnp.asarray(pairs[:, 1])
            a, b = left[first], left[second]
            results = jax.vmap(lambda op, a=a, b=b: self.result(op, a, b))(jnp.arange(4))
            ordered = (rank[a] > rank[b]) | ((a == b) & (first < second))
            allowed = (results >= 0) & (ordered | (jnp.arange(4) == 3)[:, None])
            whole = results <= self.words.max_whole
            weight = jnp.where(whole, 1.0, fraction_weight)
            if size == 2:
                goal = whole & (results >= 1) & (results <= max_goal)
                weight = jnp.where(goal, 1.0, 1e-9)
            score = jnp.where(allowed, jnp.log(weight), -jnp.inf)
            # Two odd fractions can have no result that has a word: nothing is right from there on.
            possible &= allowed.any()
            choice = jax.random.categorical(step_key, score.reshape(-1))
            operator, pair = choice // len(pairs), choice % len(pairs)
            rest = np.array([[k for k in range(size) if k not in p] for p in pairs], np.int32)
            after = left[jnp.asarray(rest)[pair]]
            left = jnp.concatenate([results[operator, pair][None], after])
            line = [a[pair] + self.first_number, operator + self.first_operator]
            line += [b[pair] + self.first_number, jnp.int32(self.tokenizer.index[ARROW])]
            padding = [self.newline] + [self.tokenizer.pad] * step
            tokens = [jnp.stack(line), left + self.first_number, jnp.array(padding)]
            lines.append(jnp.concatenate(tokens))
        goal = left[0]
        fits = possible & (goal >= 1) & (goal <= min(max_goal, self.words.max_whole))
        return jnp.stack(lines).astype(jnp.int32), goal, fits


def _first(mask: jax.Array) -> jax.Array:
    """Keeps only the first True of each row of `mask [B, m]`."""
    return mask & (jnp.cumsum(mask, axis=1) == 1)

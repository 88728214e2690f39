"""Arithmetic: the value of a nested expression, one operation a line.

    ( ( 3 + 4 ) * ( 9 - 7 ) )
    3 + 4 = 7
    9 - 7 = 2
    7 * 2 = 14 .

The first innermost operation is worked out, then the next; the last line ends with a full stop.
All numbers on the way are whole and from 0 to `largest`. A solution is right when the last
number is the value: nothing in it shows whether it is, unlike in Game of 24, so that voting,
outcome and process verifiers differ. `step_labels` says of each line whether all is right up to it.
How many operations there are is how difficult a problem is.

One in sixteen expressions is held out, by a hash of it.

With `mistake_share` the traces have mistakes, so that a policy that learns from them is right
only most of the time, however long it learns. Which operations are got wrong depends on the sign
and the last digit of the second number, each such kind has a rate of its own and a number by which
it is wrong, and what comes after goes on from the wrong number. As the mistakes of one kind agree,
a vote does not see through those that are made more often than not. Checkers and labels know the
truth; a value that is learnt from traces alone does not.

Letters: B batch, E places of an expression, P tokens of a prompt (E and a newline), S steps, L
tokens of a step, T = S L tokens of a solution.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import check
from rlsearch.data.words import WordTokenizer
from rlsearch.parallel.mesh import row_keys

LARGEST_SUBTRAHEND = 20
MIN_OPERATIONS = 2
HELD_OUT_SHARE = 16  # one in so many expressions is held out
MISTAKES = (-2, -1, 1, 2)  # by which a result is wrong
DRAWS = 12  # of which all being held out has a chance of one in 16 ** 12
LINE = 6  # tokens of `a op b = c` and its end
MAX_TEXT_LENGTH = 4096  # characters; the longest right solution has under 300

NEWLINE, FULL_STOP, EQUALS, FILLER, OPEN, CLOSE = "\n", ".", "=", "_", "(", ")"
OPERATORS = ("+", "-", "*")


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """Arithmetic, worked out line by line; see `rlsearch.tasks.base.Task`."""

    num_held_out: int = 100  # problems that are measured on
    split_seed: int = 24  # of the hash that holds expressions out
    num_operations: int = 12  # of the longest expression
    largest: int = 13  # of all numbers, given or not
    mistake_share: float = 0.0  # kinds of operations that traces get wrong, at times

    def __post_init__(self):
        check(1 <= self.num_held_out <= 1000, self, "num_held_out", "from 1 to 1000")
        check(0 <= self.split_seed < 2**31, self, "split_seed", "from 0 to 2**31 - 1")
        check(2 <= self.num_operations <= 20, self, "num_operations", "from 2 to 20")
        check(9 <= self.largest <= 99, self, "largest", "from 9 to 99")
        check(0 <= self.mistake_share <= 1, self, "mistake_share", "in [0, 1]")

    # ---- The language ----------------------------------------------------------------------

    @functools.cached_property
    def tokenizer(self) -> WordTokenizer:
        """One token a word."""
        numbers = [str(number) for number in range(self.largest + 1)]
        return WordTokenizer(
            [NEWLINE, FULL_STOP, EQUALS, FILLER, OPEN, CLOSE, *OPERATORS, *numbers]
        )

    def _token(self, word: str) -> int:
        return self.tokenizer.index[word]

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def pad(self) -> int:
        return self.tokenizer.pad

    @property
    def end_of_step(self) -> int:
        return self._token(NEWLINE)

    @property
    def end_of_solution(self) -> int:
        return self._token(FULL_STOP)

    @property
    def expression_length(self) -> int:
        """E: an operation puts four tokens beside a number."""
        return 4 * self.num_operations + 1

    @property
    def prompt_length(self) -> int:
        return self.expression_length + 1

    @property
    def num_steps(self) -> int:
        return self.num_operations

    @property
    def max_step_length(self) -> int:
        return LINE

    @property
    def solution_length(self) -> int:
        return LINE * self.num_steps

    @functools.cached_property
    def grammar(self) -> np.ndarray:
        """`[T, vocab_size]` bool: the kinds of words of a line, whatever the numbers."""
        line = self._last_line.copy()
        line[-1, self.end_of_step] = True
        return np.concatenate([*[line] * (self.num_steps - 1), self._last_line])

    @functools.cached_property
    def _last_line(self) -> np.ndarray:
        place = np.arange(self.vocab_size)
        number = place >= self._token("0")
        operator = np.isin(place, [self._token(word) for word in OPERATORS])
        equals, stop = place == self._token(EQUALS), place == self.end_of_solution
        return np.array([number, operator, number, equals, number, stop])

    @property
    def consequences(self) -> np.ndarray:
        """See `Task`: what stands behind the sign of equality."""
        return np.tile(np.arange(LINE) == 4, (self.num_steps, 1))

    # ---- Expressions on the device ---------------------------------------------------------

    def _is_number(self, tokens: jax.Array) -> jax.Array:
        return tokens >= self._token("0")

    def _draw_expression(self, key: jax.Array) -> jax.Array:
        """`[E]` int32, ending at the last place: a number, each operation in place of a number.

        Every operation is chosen so that it has the value of the number that it replaces.
        """
        count_key, value_key, key = jax.random.split(key, 3)
        most, largest = self.num_operations, self.largest
        count = jax.random.randint(count_key, (), MIN_OPERATIONS, most + 1)
        zero, first_operator = self._token("0"), self._token(OPERATORS[0])
        places = jnp.arange(self.expression_length)
        value = jax.random.randint(value_key, (), 1, largest + 1)
        blank = jnp.full((self.expression_length,), self._token(FILLER), jnp.int32)
        factors = jnp.asarray(_factors(largest))

        def grow(number, tokens):
            place_key, *operand_keys, kind_key = jax.random.split(
                jax.random.fold_in(key, number), 5
            )
            there = jnp.where(self._is_number(tokens), 0.0, -jnp.inf)
            at = jax.random.categorical(place_key, there)
            value = tokens[at] - zero
            part = jax.random.randint(operand_keys[0], (), 1, jnp.maximum(value, 2))
            spare = jnp.minimum(LARGEST_SUBTRAHEND, largest - value)
            taken = jax.random.randint(operand_keys[1], (), jnp.minimum(1, spare), spare + 1)
            has_factor = factors[value].any()
            log_factors = jnp.where(factors[value], 0.0, -jnp.inf)
            factor = jax.random.categorical(operand_keys[2], jnp.where(has_factor, log_factors, 0))
            factor = jnp.maximum(factor, 1)
            # A sum wants two parts of at least 1, a product a factor that is neither 1 nor all.
            possible = jnp.array([value >= 2, True, has_factor])
            kind = jax.random.categorical(kind_key, jnp.where(possible, 0.0, -jnp.inf))
            left = jnp.stack([part, value + taken, value // factor])[kind]
            right = jnp.stack([value - part, taken, factor])[kind]
            words = [self._token(OPEN), zero + left, first_operator + kind, zero + right]
            new = jnp.stack([jnp.asarray(word, jnp.int32) for word in [*words, self._token(CLOSE)]])
            offset = places - (at - 4)
            inside = (offset >= 0) & (offset < 5)
            grown = jnp.where(inside, new[jnp.clip(offset, 0, 4)], tokens)
            grown = jnp.where(offset < 0, jnp.roll(tokens, -4), grown)
            return jnp.where(number < count, grown, tokens)

        return jax.lax.fori_loop(0, most, grow, blank.at[-1].set(zero + value))

    @functools.cached_property
    def _mistakes(self) -> tuple[np.ndarray, np.ndarray]:
        """Lists by sign and last digit `[3, 10]`: how often a result is wrong, and by how much."""
        random = np.random.default_rng(self.split_seed)
        kinds = len(OPERATORS) * 10
        number = round(self.mistake_share * kinds)
        rates = np.zeros(kinds, np.float32)
        rates[random.permutation(kinds)[:number]] = (np.arange(number) + 0.5) / max(number, 1)
        by = random.choice(MISTAKES, kinds)
        return rates.reshape(-1, 10), by.reshape(-1, 10).astype(np.int32)

    def _reduce(
        self, tokens: jax.Array, care: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Works out the first innermost operation of an expression `[E]`.

        Args:
            care: `[]` float32 in [0, 1]; a mistake that is made more often than that is made.

        Returns:
            The expression after it `[E]`, the line `[L]` without its end, and whether there was an
            operation whose result has a word `[]` bool.
        """
        zero, first_operator = self._token("0"), self._token(OPERATORS[0])
        places = jnp.arange(tokens.shape[0])
        a, operator, b, close = (jnp.roll(tokens, -shift) for shift in (1, 2, 3, 4))
        kind = operator - first_operator
        here = (tokens == self._token(OPEN)) & (close == self._token(CLOSE))
        here &= self._is_number(a) & self._is_number(b)
        here &= (kind >= 0) & (kind < len(OPERATORS)) & (places < tokens.shape[0] - 4)
        at = jnp.argmax(here)
        x, y, kind = a[at] - zero, b[at] - zero, jnp.clip(kind[at], 0, len(OPERATORS) - 1)
        result = jnp.stack([x + y, x - y, x * y])[kind]
        rates, by = (jnp.asarray(table)[kind, y % 10] for table in self._mistakes)
        wrong = result + by
        mistaken = (care < rates) & (wrong >= 0) & (wrong <= self.largest)
        result = jnp.where(mistaken, wrong, result)
        possible = here.any() & (result >= 0) & (result <= self.largest)
        result = zero + jnp.clip(result, 0, self.largest)
        after = jnp.where(places > at + 4, tokens, jnp.roll(tokens, 4))
        after = jnp.where(places < 4, self._token(FILLER), after).at[at + 4].set(result)
        words = [a[at], operator[at], b[at], self._token(EQUALS), result, 0]
        line = jnp.stack([jnp.asarray(word, jnp.int32) for word in words])
        return jnp.where(possible, after, tokens), line, possible

    def _work_out(
        self, expression: jax.Array, care: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The lines `[S, L]` of an expression `[E]`, padded, and its value `[]`, or -1.

        Args:
            care: `[S]`, see `_reduce`; by default so much that all is right.
        """

        def step(tokens, care):
            after, line, possible = self._reduce(tokens, care)
            single = (self._is_number(after) | (after == self._token(OPEN))).sum() == 1
            end = jnp.where(single, self.end_of_solution, self.end_of_step)
            line = line.at[LINE - 1].set(end)
            return after, jnp.where(possible, line, self.pad)

        care = jnp.ones(self.num_operations) if care is None else care
        left, lines = jax.lax.scan(step, expression, care)
        others = (left[:-1] != self._token(FILLER)).any()
        done = ~others & self._is_number(left[-1])
        return lines, jnp.where(done, left[-1] - self._token("0"), -1)

    def _is_held_out(self, expression: jax.Array) -> jax.Array:
        """`[]` bool, of an expression `[E]`."""
        mixed = jnp.uint32(2 * self.split_seed + 1)

        def mix(mixed, token):
            mixed = (mixed ^ token.astype(jnp.uint32)) * jnp.uint32(0x9E3779B1)
            return mixed ^ (mixed >> jnp.uint32(15)), None

        mixed, _ = jax.lax.scan(mix, mixed, expression)
        return mixed % jnp.uint32(HELD_OUT_SHARE) == 0

    def _prompt(self, expression: jax.Array) -> jax.Array:
        return jnp.append(expression, jnp.int32(self.end_of_step))

    # ---- Problems --------------------------------------------------------------------------

    @functools.cached_property
    def _held_out(self) -> np.ndarray:
        """`[num, E]`, as many of each number of operations as of any other, in turn."""
        draw = jax.jit(
            jax.vmap(lambda key: ((x := self._draw_expression(key)), self._is_held_out(x)))
        )
        counts = range(MIN_OPERATIONS, self.num_operations + 1)
        wanted, batch = -(-self.num_held_out // len(counts)), 0
        found: dict[int, dict[bytes, np.ndarray]] = {count: {} for count in counts}
        while any(len(group) < wanted for group in found.values()):
            key = jax.random.fold_in(jax.random.key(self.split_seed), batch)
            drawn, held_out = (np.asarray(x) for x in draw(row_keys(key, 8192)))
            batch += 1
            for row in drawn[held_out]:
                group = found[int((row == self._token(OPEN)).sum())]
                if len(group) < wanted:
                    group.setdefault(row.tobytes(), row)
        groups = [list(group.values()) for group in found.values()]
        in_turn = [group[place] for place in range(wanted) for group in groups]
        return np.array(in_turn[: self.num_held_out])

    def held_out_prompts(self) -> np.ndarray:
        """`[num, P]` int32; number i has 2 + i mod (S - 1) operations."""
        ends = np.full((len(self._held_out), 1), self.end_of_step, np.int32)
        return np.concatenate([self._held_out, ends], axis=1)

    def held_out_texts(self) -> list[str]:
        """The same problems as text, in the same order."""
        return [self.tokenizer.decode(prompt) for prompt in self.held_out_prompts().tolist()]

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """A training prompt `[P]` int32. `key` is consumed."""
        expressions = jax.vmap(self._draw_expression)(jax.random.split(key, DRAWS))
        return self._prompt(expressions[jnp.argmin(jax.vmap(self._is_held_out)(expressions))])

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """An expression and how it is worked out. The other prompt has one number changed, unless
        that is held out.

        Returns:
            prompt `[P]`, other prompt `[P]`, steps `[S, L]`, all int32, and whether the draw may
            be learnt from `[]` bool: its expression is not held out, and no mistake has led to a
            number that has no word.
        """
        own_key, place_key, number_key, care_key = jax.random.split(key, 4)
        expression = self._draw_expression(own_key)
        care = jax.random.uniform(care_key, (self.num_operations,))
        lines, value = self._work_out(expression, care)
        there = jnp.where(self._is_number(expression), 0.0, -jnp.inf)
        at = jax.random.categorical(place_key, there)
        number = jax.random.randint(number_key, (), 0, self.largest + 1) + self._token("0")
        other = expression.at[at].set(number)
        other = jnp.where(self._is_held_out(other), expression, other)
        valid = ~self._is_held_out(expression) & (value >= 0)
        return self._prompt(expression), self._prompt(other), lines, valid

    def holds_out(self, prompts: np.ndarray) -> np.ndarray:
        """See `NumberTask.holds_out`."""
        return np.asarray(jax.vmap(self._is_held_out)(jnp.asarray(prompts[:, :-1])))

    # ---- Checkers --------------------------------------------------------------------------

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """The device checker, of `prompts [B, P]` and `solutions [B, >= T]`; `[B]` bool."""
        value = jax.vmap(lambda prompt: self._work_out(prompt[:-1])[1])(prompts)
        return (value >= 0) & (self.answers(prompts, solutions) == value)

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B]` int32, the last number; -1 where the solution is none. See `Task`."""
        del prompts
        places = jnp.arange(solutions.shape[1])
        stops = solutions == self.end_of_solution
        end = jnp.argmax(stops, axis=1)
        inside = places <= end[:, None]
        allowed = jnp.asarray(self.grammar)
        allowed = allowed[jnp.minimum(places, allowed.shape[0] - 1), solutions]
        well_formed = (allowed | ~inside).all(axis=1) & stops.any(axis=1)
        well_formed &= (inside | (solutions == self.pad)).all(axis=1) & (end < self.solution_length)
        last = jnp.take_along_axis(solutions, jnp.maximum(end - 1, 0)[:, None], axis=1)[:, 0]
        return jnp.where(well_formed, last - self._token("0"), -1)

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B, S]` bool, whether a solution `[B, T]` is written as far, and right as far."""
        lines = jax.vmap(lambda prompt: self._work_out(prompt[:-1])[0])(prompts)
        given = solutions[:, : self.solution_length].reshape(lines.shape)
        same = (given == lines).all(axis=2) & (given[:, :, 0] != self.pad)
        return jnp.cumprod(same, axis=1).astype(bool)

    def step_labels(self, prompts: np.ndarray, solutions: np.ndarray) -> np.ndarray:
        """Does what `label_steps` does, on the host."""
        return np.asarray(jax.jit(self.label_steps)(jnp.asarray(prompts), jnp.asarray(solutions)))

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """Does what `check_tokens` does, on text. Safe on any, and bounded in time.

        Args:
            prompt: a problem, as `held_out_texts` writes it.
            solution: what a model wrote. What is not UTF-8 is wrong, and so is anything over
                `MAX_TEXT_LENGTH` characters.
        """
        text = readable(solution)
        if text is None:
            return False
        lines = [line.split(" ") for line in text.strip(" ").split(NEWLINE)]
        lines = [[word for word in line if word] for line in lines]
        if not lines or lines[-1][-1:] != [FULL_STOP] or len(lines) > self.num_steps:
            return False
        lines[-1] = lines[-1][:-1]
        for line in lines:
            if len(line) != LINE - 1 or line[1] not in OPERATORS or line[3] != EQUALS:
                return False
            if not all(self._is_number_word(line[place]) for place in (0, 2, 4)):
                return False
        value = self._value(prompt)
        return value is not None and lines[-1][4] == str(value)

    def _is_number_word(self, word: str) -> bool:
        return re.fullmatch("0|[1-9][0-9]?", word) is not None and int(word) <= self.largest

    def _value(self, text: str) -> int | None:
        """The value of an expression as text, or None."""
        words = [word for word in text.split() if word != FILLER]
        while len(words) > 1:
            for at in range(len(words) - 4):
                opening, a, operator, b, closing = words[at : at + 5]
                if (opening, closing) == (OPEN, CLOSE) and operator in OPERATORS:
                    if self._is_number_word(a) and self._is_number_word(b):
                        break
            else:
                return None
            x, y = int(a), int(b)
            result = {"+": x + y, "-": x - y, "*": x * y}[operator]
            if not 0 <= result <= self.largest:
                return None
            words[at : at + 5] = [str(result)]
        return int(words[0]) if words and self._is_number_word(words[0]) else None

    def parse_problem(self, text: str) -> str:
        """The prompt of an expression that a user typed, such as `( ( 3 + 4 ) * 2 )`.

        Raises:
            ValueError: if it is none, is too long, or leaves the numbers from 0 to 99.
        """
        said, example = f"problem is {text[:80]!r}", "such as '( ( 3 + 4 ) * 2 )'"
        words = re.findall(r"[0-9]+|\S", text[: 10 * MAX_TEXT_LENGTH])
        operations = sum(word in OPERATORS for word in words)
        if not MIN_OPERATIONS <= operations <= self.num_operations:
            raise ValueError(
                f"{said}: it has {operations} operations: "
                f"give from {MIN_OPERATIONS} to {self.num_operations}, {example}"
            )
        if self._value(" ".join(words)) is None:
            raise ValueError(
                f"{said}: give an expression with brackets around every operation and all "
                f"numbers on the way from 0 to {self.largest}, {example}"
            )
        filler = [FILLER] * (self.expression_length - len(words))
        return " ".join([*filler, *words]) + NEWLINE


def readable(solution: str | bytes) -> str | None:
    """Decodes a model's text; None where it is not UTF-8 or over `MAX_TEXT_LENGTH` characters."""
    if isinstance(solution, bytes):
        try:
            solution = solution[: 4 * MAX_TEXT_LENGTH + 1].decode()
        except UnicodeDecodeError:
            return None
    return solution if len(solution) <= MAX_TEXT_LENGTH else None


def _factors(largest: int) -> np.ndarray:
    """`[v, f]` bool: f is a factor of v and neither 1 nor v."""
    numbers = range(largest + 1)
    return np.array([[1 < f < v and v % f == 0 for f in numbers] for v in numbers])

"""A task in words, in the tokens of an open model: what training, search and measuring ask of it.

Problems become prompts, each a conversation's first turn, and texts are judged on the host: the
device asks it in the midst of a program, each for the rows that it holds. So an open model learns
and searches by the same code as a network that speaks a language of this package's own.

Letters: B problems, P tokens of the longest prompt, T of the longest solution.
"""

import dataclasses
import functools
import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.parallel.bounded import in_threads
from rlsearch.parallel.mesh import ask_host
from rlsearch.pretrained.tokenizer import TextTokenizer
from rlsearch.tasks.base import NO_TOKEN
from rlsearch.tasks.questions import Problem, TextTask
from rlsearch.text import shortened

CHECK_SECONDS = 10.0  # that a task may take for a text


class Worked(NamedTuple):
    """Worked solutions of N problems."""

    prompts: Any  # [N, P] int32, padded on the left with NO_TOKEN
    solutions: Any  # [N, T] int32, padded behind; one that is too long is cut: it has no end


class Posed(NamedTuple):
    """Problems with their prompts."""

    problems: Sequence[Problem]
    prompts: np.ndarray  # [B, P] int32, padded on the left with NO_TOKEN


def posed(problems: Sequence[Problem], prompts: Sequence[Sequence[int]]) -> Posed:
    """Problems whose prompts are padded to the longest."""
    return Posed(problems, left_padded(prompts, max(map(len, prompts), default=0)))


def left_padded(prompts: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """Prompts `[N, P]` int32 of P = `width`, padded on the left with NO_TOKEN."""
    table = np.full((len(prompts), width), NO_TOKEN, np.int32)
    for row, tokens in zip(table, prompts, strict=True):
        row[width - len(tokens) :] = tokens
    return table


def check_room(
    problems: Sequence[Problem],
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    context: int,
) -> None:
    """Raises ValueError where a prompt leaves no room for a text of `max_tokens` tokens."""
    for problem, prompt in zip(problems, prompts, strict=True):
        if len(prompt) + max_tokens > context:
            raise ValueError(
                f"problem {problem.number} has {len(prompt)} tokens, and a text may have "
                f"{max_tokens}: together they must be at most {context}, the model's context"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Worded:
    """A task `rlsearch.tasks.base.Task`, but for what only a language of its own has: a grammar,
    random traces, labels of steps."""

    task: TextTask
    tokenizer: TextTokenizer
    pose: Callable[[str], Posed]  # of a split, "test" or "train"
    ask: Callable[[Problem], Sequence[int]]  # the prompt of a problem
    num_steps: int  # S, of the longest solution
    solution_length: int  # T

    pad = NO_TOKEN

    @functools.cached_property
    def held_out(self) -> Posed:
        """The problems that nothing is learnt from."""
        return self.pose("test")

    @functools.cached_property
    def _to_learn(self) -> Posed:
        return self.pose("train")

    @property
    def training(self) -> Posed:
        """The problems to learn from, none of which is held out.

        Raises:
            ValueError: there is none.
        """
        if not self._to_learn.problems:
            raise ValueError("the task has no training problems")
        return self._to_learn

    @functools.cached_property
    def worked(self) -> Worked | None:
        """The training problems of which a worked solution is known; None where there is none."""
        posed, end = self._to_learn, self.tokenizer.end
        known = [i for i, problem in enumerate(posed.problems) if problem.solution]
        if not known or end < 0:
            return None
        solutions = np.full((len(known), self.solution_length), NO_TOKEN, np.int32)
        for row, number in zip(solutions, known, strict=True):
            text = self.tokenizer.plain("solution", posed.problems[number].solution)
            tokens = [*self.tokenizer.encode(text), end][: len(row)]
            row[: len(tokens)] = tokens
        return Worked(posed.prompts[known], solutions)

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.tokenizer.vocab_size

    @property
    def prompt_length(self) -> int:
        """Tokens of the longest prompt."""
        return max(self.held_out.prompts.shape[1], self._to_learn.prompts.shape[1])

    def held_out_prompts(self) -> np.ndarray:
        """`[B, P]` int32, in the order of the task."""
        return self.held_out.prompts

    def held_out_texts(self) -> list[str]:
        """The same problems as text."""
        return [problem.text for problem in self.held_out.problems]

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """A prompt `[P]` int32, uniform over the training problems. `key` is consumed."""
        row = jax.random.randint(key, (), 0, len(self.training.problems))
        return jnp.asarray(self.training.prompts)[row]

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B] bool`, the solutions `[B, T]` of `prompts [B, P]` that are right. In `jit`, which
        asks the host. What has no problem of this task as its prompt is wrong."""
        shape = jax.ShapeDtypeStruct(solutions.shape[:-1], jnp.bool_)
        prompts = jnp.broadcast_to(prompts, (*solutions.shape[:-1], prompts.shape[-1]))
        return ask_host(self._judged, shape, prompts, solutions)

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B]` int32, a number for what each of solutions `[B, T]` says in the end, -1 for
        nothing. In `jit`, which asks the host; equal answers have the same number."""
        del prompts
        shape = jax.ShapeDtypeStruct(solutions.shape[:-1], jnp.int32)
        return ask_host(self._read, shape, solutions)

    def parse_problem(self, text: str) -> str:
        """The problem that a user typed. Raises ValueError where it cannot be one."""
        return self.tokenizer.plain("problem", text).strip()

    def encode_problem(self, text: str) -> list[int]:
        """The prompt of a problem that a user typed. Raises ValueError where it is too long."""
        return list(self.ask(Problem(text, "", 0)))

    def check(self, prompt: str, solution: str) -> bool | None:
        """Tells whether `solution` solves the problem `prompt`; None where the task does not know
        it."""
        problems = [*self.held_out.problems, *self._to_learn.problems]
        problem = next((problem for problem in problems if problem.text == prompt), None)
        return None if problem is None else self._is_right(problem, solution)

    def text(self, solution: np.ndarray) -> str:
        """A solution `[T]` as text."""
        return self.tokenizer.decode(solution[solution != NO_TOKEN])

    @functools.cached_property
    def _known(self) -> dict[bytes, Problem]:
        """The problems by the tokens of their prompts, without padding."""
        known: dict[bytes, Problem] = {}
        for split in (self.held_out, self._to_learn):
            for prompt, problem in zip(split.prompts, split.problems, strict=True):
                known[prompt[prompt != NO_TOKEN].tobytes()] = problem
        return known

    def _judged(self, prompts: Any, solutions: Any) -> np.ndarray:
        prompts, solutions = np.asarray(prompts), np.asarray(solutions)
        right, texts = np.zeros(solutions.shape[:-1], bool), {}
        for number, place in enumerate(np.ndindex(right.shape)):
            prompt = prompts[place]
            problem = self._known.get(prompt[prompt != NO_TOKEN].tobytes())
            if problem is not None:
                texts[number] = problem, self.text(solutions[place])
        found = in_threads(lambda pair: self._is_right(*pair), texts, 1, CHECK_SECONDS)
        if late := next((pair for number, pair in texts.items() if number not in found), None):
            said = f"the task took over {CHECK_SECONDS} seconds to check {shortened(late[1])}"
            warnings.warn(f"{said}, which counts as wrong", RuntimeWarning, stacklevel=2)
        right.flat[list(found)] = list(found.values())
        return right

    def _is_right(self, problem: Problem, text: str) -> bool:
        try:
            return bool(self.task.check(problem, text))
        except Exception as error:  # a checker reads what nobody foresaw: the others go on
            said = f"the task cannot check {shortened(text)}, which counts as wrong: {error!r}"
            warnings.warn(said, RuntimeWarning, stacklevel=2)
            return False

    def _read(self, solutions: Any) -> np.ndarray:
        solutions = np.asarray(solutions)
        found = np.full(solutions.shape[:-1], -1, np.int32)
        for place in np.ndindex(found.shape):
            said = self.task.answer(self.text(solutions[place]))
            if said:
                found[place] = zlib.crc32(said.encode()) >> 1
        return found

"""Strategies on problems in words: an open model's texts as solutions in steps.

A step is a line of text. Every strategy of the package then writes, searches and chooses as it does
in a language of its own, in one jitted program; what a solution says in the end, by which votes are
counted, the host reads in that program's midst. Whether an answer is right, it is asked afterwards.

Letters: B problems, P tokens of the longest prompt, T of the longest solution.
"""

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rlsearch.config import check
from rlsearch.decoding.policy import NO_TOKEN, Policy, SolutionFormat
from rlsearch.decoding.slots import padded
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.examination import Contestant, Examination, mean_solution_tokens
from rlsearch.measuring.open_accuracy import Asking, prompts_of
from rlsearch.pretrained.opened import OpenModel
from rlsearch.pretrained.tokenizer import TextTokenizer
from rlsearch.tasks.questions import Problem, TextTask

MEASURED = 32  # problems on which the mean length of a sample is measured


@dataclasses.dataclass(frozen=True)
class Lines:
    """The shape of solutions that are written line by line."""

    max_steps: int = 8  # S; a solution of more lines is cut there
    max_step_tokens: int = 48  # L; a longer line is several steps
    delimiter: str = "\n"  # a token whose text holds it ends a step

    def __post_init__(self):
        check(self.max_steps >= 1, self, "max_steps", "at least 1")
        check(self.max_step_tokens >= 1, self, "max_step_tokens", "at least 1")
        check(bool(self.delimiter), self, "delimiter", "a text")

    def format(self, tokenizer: TextTokenizer, max_tokens: int) -> SolutionFormat:
        """The format of solutions of up to `max_tokens` tokens."""
        return SolutionFormat(
            num_steps=self.max_steps,
            max_step_length=min(self.max_step_tokens, max_tokens),
            max_length=min(max_tokens, self.max_steps * self.max_step_tokens),
            step_ends=tuple(np.flatnonzero(tokenizer.holding(self.delimiter)).tolist()),
            pad=NO_TOKEN,
            solution_ends=tokenizer.ends,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Worded:
    """A task in words, in the tokens of an open model: all that an examination asks of it."""

    task: TextTask
    tokenizer: TextTokenizer
    problems: Sequence[Problem]
    prompts: np.ndarray  # [B, P] int32, padded on the left with NO_TOKEN

    @property
    def prompt_length(self) -> int:
        """P."""
        return self.prompts.shape[1]

    @functools.cached_property
    def _asked(self) -> dict[bytes, Problem]:
        asked = zip(self.prompts, self.problems, strict=True)
        return {prompt.tobytes(): problem for prompt, problem in asked}

    def text(self, solution: np.ndarray) -> str:
        """A solution `[T]` as text."""
        return self.tokenizer.decode(solution[solution != NO_TOKEN])

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> np.ndarray:
        """`[B] bool`, the solutions `[B, T]` of `prompts [B, P]` that are right. On the host."""
        pairs = zip(np.asarray(prompts, np.int32), np.asarray(solutions), strict=True)
        checked = (
            self.task.check(self._asked[prompt.tobytes()], self.text(solution))
            for prompt, solution in pairs
        )
        return np.array(list(checked), bool)

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B]` int32, a number for what each of solutions `[B, T]` says in the end, -1 for
        nothing. In `jit`, which asks the host; equal answers have the same number."""
        del prompts
        shape = jax.ShapeDtypeStruct(solutions.shape[:-1], jnp.int32)
        return jax.pure_callback(self._read, shape, solutions, vmap_method="broadcast_all")

    def _read(self, solutions: Any) -> np.ndarray:
        solutions = np.asarray(solutions)
        rows = solutions.reshape(-1, solutions.shape[-1])
        said = [self.task.answer(self.text(row)) for row in rows]
        numbers = [zlib.crc32(text.encode()) >> 1 if text else -1 for text in said]
        return np.array(numbers, np.int32).reshape(solutions.shape[:-1])


def examine_open(
    opened: OpenModel, task: TextTask, problems: Sequence[Problem], asking: Asking, lines: Lines
) -> tuple[Examination, Contestant]:
    """An examination on problems in words, and an open model that sits it.

    Raises:
        ValueError: a problem's prompt leaves no room for an answer in the model's context, or there
            is no problem.
    """
    tokens = prompts_of(opened, problems, asking)
    prompts, real = padded(tokens, max(map(len, tokens)))
    prompts = np.where(real, prompts, NO_TOKEN).astype(np.int32)
    worded = Worded(task, opened.tokenizer, problems, prompts)
    format = lines.format(opened.tokenizer, asking.max_tokens)
    writer = Writer(Policy(opened.model, format, worded.answers), opened.params)
    name = epath.Path(opened.folder).name
    examination: Any = Examination(
        task=worded,  # pyright: ignore[reportArgumentType]  # it has what is asked of it here
        split="held_out",
        prompts=jnp.asarray(prompts),
        folder=epath.Path(opened.folder),
        title=f"{name}: {len(problems)} problems",
    )
    unit = jax.jit(mean_solution_tokens)(writer, examination.prompts[:MEASURED])
    return examination, Contestant(name, 0, writer, float(unit))

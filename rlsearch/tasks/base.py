"""The protocol of a problem: the one class a user writes to bring a task of their own.

A task is a frozen dataclass; a config holds one, and its fields can be set on the command line.
A task owns its words, its problems and their split, and two checkers that agree: one for text
that anybody may have written, one for tokens inside `jit`.

Letters: B batch, P tokens of a prompt, T tokens of a solution, S steps, L tokens of a step.
"""

from typing import Protocol

import jax
import numpy as np

from rlsearch.data.words import WordTokenizer

NO_TOKEN = -1  # padding that is no token of the vocabulary


def check_traced(task: object, stage: str, needed: str) -> None:
    """Raises ValueError where a task has no random traces, and says what `stage` needs them for."""
    if not hasattr(task, "draw_trace"):
        raise ValueError(
            f"stage {stage!r} learns from random traces, and the task has none{needed}"
        )


class Task(Protocol):
    """Problems whose solutions are written in steps and can be checked exactly.

    Methods said to run on the device are pure, work under `jit` and take one problem unless the
    shapes say otherwise; callers `vmap`.
    """

    @property
    def tokenizer(self) -> WordTokenizer:
        """Text to tokens and back."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of tokens, padding included."""
        ...

    @property
    def pad(self) -> int:
        """The token that stands for no token; `NO_TOKEN` where prompts are padded with it too."""
        ...

    @property
    def end_of_step(self) -> int:
        """The token that ends a step."""
        ...

    @property
    def end_of_solution(self) -> int:
        """The token that ends a step and the solution with it; -1 where all have S steps."""
        ...

    @property
    def prompt_length(self) -> int:
        """P, tokens of every prompt."""
        ...

    @property
    def num_steps(self) -> int:
        """S, steps of the longest solution."""
        ...

    @property
    def max_step_length(self) -> int:
        """L, tokens of the longest step, its end token included."""
        ...

    @property
    def solution_length(self) -> int:
        """T, tokens of the longest solution."""
        ...

    @property
    def grammar(self) -> np.ndarray:
        """`[T, vocab_size]` bool, the tokens allowed at each place of a solution."""
        ...

    @property
    def consequences(self) -> np.ndarray:
        """`[S, L]` bool, tokens of a trace that follow from those before, whatever the goal."""
        ...

    def held_out_prompts(self) -> np.ndarray:
        """`[num, P]` int32, the problems that no draw ever gives. In a fixed order."""
        ...

    def held_out_texts(self) -> list[str]:
        """The same problems as text, in the same order."""
        ...

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """Tells whether `solution` solves `prompt`. Safe on any text, and bounded in time."""
        ...

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """On the device: as `check`, for `prompts [B, P]` and `solutions [B, T]`; `[B]` bool."""
        ...

    def answers(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """On the device: what solutions `[B, T]` say in the end, `[B]` int32, right or wrong.

        Solutions of a problem with the same number give the same answer; -1 is none. Voting
        counts them.
        """
        ...

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """On the device: one training problem of the task, a prompt `[P]` int32.

        Args:
            key: a typed key, consumed.
        """
        ...

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """On the device: one random valid solution, with the problem that it turned out to solve.

        Args:
            key: a typed key, consumed.

        Returns:
            prompt `[P]` int32; another prompt `[P]` int32, which asks something else of the same
            givens (by chance it may ask the same); steps `[S, L]` int32, padded; and whether the
            draw may be learnt from, `[]` bool. One that may not is well formed but has no meaning.
        """
        ...

    def step_labels(self, prompts: np.ndarray, solutions: np.ndarray) -> np.ndarray:
        """`[B, S]` bool, which steps of solutions `[B, T]` are written, are right with all before
        them, and leave a state from which a right solution can be written. On the host, exact, and
        for measuring only.

        A task that cannot say has no such method.
        """
        ...

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """Does what `step_labels` does, on the device. A task that cannot say so there has no such
        method."""
        ...

    def parse_problem(self, text: str) -> str:
        """The prompt of what a user typed.

        Raises:
            ValueError: in one sentence, what was typed and what is valid, or that there is no
                solution.
        """
        ...

"""Few-shot prompting: worked examples in front of every problem.

Any task becomes one whose prompts begin with m problems and their solutions, and everything else
goes on as before: what is learnt from, searched and measured has prompts of that form, and reading
them is paid for. The examples are random traces of the task that its checker calls right, so that
no held-out problem is among them. A policy sees others with every trace; held-out problems, and
those that a user types, all stand behind the same m. Shorter examples have ends of steps in front.

Two other ways to prompt are tasks too. Chain of thought is the form of every task here: solutions
are written in steps. Direct answers are `rlsearch.tasks.direct_arithmetic`; in Game of 24 and
countdown the steps are the answer, and there is nothing shorter to ask for.

Letters: B batch, m examples, P tokens of a task's own prompt, T of its solution, S steps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import check
from rlsearch.parallel.mesh import row_keys
from rlsearch.tasks.base import Task

BANK = 512  # examples to draw from
DRAWS = 4096  # traces that they are chosen from
OF_PROMPTS = ("check_tokens", "answers", "step_labels", "label_steps")


@dataclasses.dataclass(frozen=True)
class FewShot:
    """Prompts with worked examples."""

    num_examples: int = 4  # m

    def __post_init__(self):
        check(1 <= self.num_examples <= 16, self, "num_examples", "from 1 to 16")

    def prompted(self, task: Task) -> Task:
        """The task with m examples in front of every problem."""
        return FewShotTask(task, self.num_examples)  # pyright: ignore


class FewShotTask:
    """The task `rlsearch.tasks.base.Task`, made of another: what is not here is the other's.

    Raises:
        ValueError: if fewer than m traces of the task come out right.
    """

    def __init__(self, task: Task, num_examples: int):
        self._task, self.num_examples = task, num_examples
        for name in OF_PROMPTS:
            if hasattr(task, name):  # a task that cannot label steps says so by having no method
                setattr(self, name, self._of_problems(getattr(task, name)))
        self._bank = _examples(task)
        if len(self._bank) < num_examples:
            raise ValueError(
                f"prompting.num_examples is {num_examples}: of {DRAWS} random traces only "
                f"{len(self._bank)} come out right"
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def _of_problems(self, method: Callable) -> Callable:
        """A method of prompts `[B, P]` as one of prompts with examples."""
        own = self._task.prompt_length
        return lambda prompts, solutions: method(prompts[:, -own:], solutions)

    @property
    def prompt_length(self) -> int:
        return self.num_examples * self._bank.shape[1] + self._task.prompt_length

    def held_out_prompts(self) -> np.ndarray:
        """`[num, m (P + T) + P]` int32, all behind the same examples."""
        return np.array([self._behind_the_first(x) for x in self._task.held_out_prompts()])

    def held_out_texts(self) -> list[str]:
        """The same problems as text, in the same order."""
        return [self._task.tokenizer.decode(prompt) for prompt in self.held_out_prompts().tolist()]

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """See `Task`; only the problem itself counts."""
        own = self._task.tokenizer.encode(prompt)[-self._task.prompt_length :]
        return self._task.check(self._task.tokenizer.decode(own), solution)

    def parse_problem(self, text: str) -> str:
        """The prompt of what a user typed, behind the examples of the held-out problems."""
        own = self._task.tokenizer.encode(self._task.parse_problem(text))
        return self._task.tokenizer.decode(self._behind_the_first(np.array(own)).tolist())

    def draw_task_problem(self, key: jax.Array) -> jax.Array:
        """See `Task`; `key` is consumed."""
        problem_key, example_key = jax.random.split(key)
        return self._behind(self._draw(example_key), self._task.draw_task_problem(problem_key))

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """See `Task`; both prompts have the same examples. `key` is consumed."""
        trace_key, example_key = jax.random.split(key)
        prompt, other, steps, valid = self._task.draw_trace(trace_key)
        examples = self._draw(example_key)
        return self._behind(examples, prompt), self._behind(examples, other), steps, valid

    def _draw(self, key: jax.Array) -> jax.Array:
        """`[m, P + T]` int32, no example twice."""
        chosen = jax.random.choice(key, len(self._bank), (self.num_examples,), replace=False)
        return jnp.asarray(self._bank)[chosen]

    def _behind(self, examples: jax.Array, prompt: jax.Array) -> jax.Array:
        """`prompt [P]` behind `examples [m, P + T]`, whose padding goes in front of them all."""
        shown = examples.reshape(-1)
        padding = shown == self._task.pad
        shown = jnp.where(padding, self._task.end_of_step, shown)
        return jnp.concatenate([shown[jnp.argsort(~padding, stable=True)], prompt])

    def _behind_the_first(self, prompt: np.ndarray) -> np.ndarray:
        examples = jnp.asarray(self._bank[: self.num_examples])
        return np.asarray(self._behind(examples, jnp.asarray(prompt, jnp.int32)))


def _examples(task: Task) -> np.ndarray:
    """`[at most BANK, P + T]` int32, prompts and their right solutions, padded behind."""

    @jax.jit
    def draw(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        prompts, _, steps, valid = jax.vmap(task.draw_trace)(keys)
        solutions = steps.reshape(len(keys), -1)
        order = jnp.argsort(solutions == task.pad, axis=1, stable=True)
        solutions = jnp.take_along_axis(solutions, order, axis=1)[:, : task.solution_length]
        right = valid & task.check_tokens(prompts, solutions)
        return jnp.concatenate([prompts, solutions], axis=1), right

    shown, right = (np.asarray(x) for x in draw(row_keys(jax.random.key(0), DRAWS)))
    return shown[right][:BANK]

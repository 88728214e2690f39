"""Arithmetic whose solutions are the answer alone: `= 14 .`, with nothing worked out before it.

What the steps of `arithmetic` are worth is the difference between the two: the problems, their
split and the mistakes of the traces are the same.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.tasks.arithmetic import EQUALS, FULL_STOP, Arithmetic, readable

DIRECT = 3  # tokens: the sign, the number and the full stop


@dataclasses.dataclass(frozen=True)
class DirectArithmetic(Arithmetic):
    """Arithmetic with nothing but the answer; see `Arithmetic`."""

    @property
    def num_steps(self) -> int:
        return 1

    @property
    def max_step_length(self) -> int:
        return DIRECT

    @property
    def solution_length(self) -> int:
        return DIRECT

    @property
    def grammar(self) -> np.ndarray:
        """`[T, vocab_size]` bool: how the last line of a worked solution ends."""
        return self._last_line[-DIRECT:]

    @property
    def consequences(self) -> np.ndarray:
        """See `Task`: without steps nothing follows from what was written before."""
        return np.zeros((1, DIRECT), bool)

    def draw_trace(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Draws a trace of `Arithmetic`, of whose lines the number at the end is left."""
        prompt, other, lines, valid = super().draw_trace(key)
        last = jnp.maximum((lines[:, 0] != self.pad).sum() - 1, 0)
        return prompt, other, lines[last, -DIRECT:][None], valid

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        """`[B, 1]` bool: the one step is right where the solution is."""
        return self.check_tokens(prompts, solutions)[:, None]

    def check(self, prompt: str, solution: str | bytes) -> bool:
        """Does what `check_tokens` does, on text. Safe on any, and bounded in time."""
        text, value = readable(solution), self._value(prompt)
        if text is None or value is None:
            return False
        return [word for word in text.split(" ") if word] == [EQUALS, str(value), FULL_STOP]

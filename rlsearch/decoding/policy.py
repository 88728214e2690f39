"""A language policy: a network, and the format of the solutions it writes."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.networks.language_model import LanguageModel
from rlsearch.tasks.base import NO_TOKEN

FEW = 4  # tokens of a set that are compared one by one


@dataclasses.dataclass(frozen=True, eq=False)
class SolutionFormat:
    """The shape of solutions that are written in steps.

    Steps and solutions end where a token of a set is written: in byte pairs a newline hides in
    many. A step, or a solution, that has not ended at its longest is cut there.
    """

    num_steps: int  # S, steps of a complete solution
    max_step_length: int  # L, tokens of the longest step, its end token included
    max_length: int  # T, tokens of the longest solution
    step_ends: tuple[int, ...]  # tokens that end a step
    pad: int  # the token that stands for no token; NO_TOKEN: prompts are padded with it too
    grammar: np.ndarray | None = None  # [T, V] bool, tokens allowed at each place; None: all
    solution_ends: tuple[int, ...] = ()  # tokens that end a step and the solution with it

    def ends_step(self, tokens: jax.Array) -> jax.Array:
        """`[...]` bool, the `tokens [...]` that end a step."""
        return among(tokens, (*self.step_ends, *self.solution_ends))

    def ends_solution(self, tokens: jax.Array) -> jax.Array:
        """`[...]` bool, the `tokens [...]` that end a solution."""
        return among(tokens, self.solution_ends)

    def is_whole(self, solutions: jax.Array) -> jax.Array:
        """`[...]` bool, the `solutions [..., T]` that were not cut at their longest: a token ends
        them. Where no token ends a solution, all are whole."""
        if not self.solution_ends:
            return jnp.ones(solutions.shape[:-1], bool)
        return self.ends_solution(solutions).any(axis=-1)

    def cut_share(self, solutions: jax.Array, counted: jax.Array) -> dict[str, jax.Array]:
        """The metric `cut`, `[B]` float32: of the `counted [B, n]` of `solutions [B, n, T]` the
        share that was cut; no metric where no token ends a solution."""
        if not self.solution_ends:
            return {}
        cut = (counted & ~self.is_whole(solutions)).sum(axis=1)
        return {"cut": cut / jnp.maximum(counted.sum(axis=1), 1)}

    def is_complete(
        self, solutions: jax.Array, lengths: jax.Array, num_steps: jax.Array
    ) -> jax.Array:
        """`[...]` bool, the `solutions [..., T]` that are complete, or cut.

        Args:
            lengths, num_steps: `[...]` int32, tokens and steps that are written.
        """
        ended = self.ends_solution(solutions).any(axis=-1)
        if self.grammar is None:  # where there is one, it leaves room for all steps
            ended |= lengths >= self.max_length
        return ended | (num_steps >= self.num_steps)

    def real(self, tokens: jax.Array) -> jax.Array | None:
        """`[B, P + T]` bool, what is no padding of prompts with solutions behind them. None where
        padding stands behind solutions alone: nothing looks at it there."""
        return tokens != NO_TOKEN if self.pad == NO_TOKEN else None


def among(tokens: jax.Array, members: tuple[int, ...]) -> jax.Array:
    """`[...]` bool, the `tokens [...]` that are in a set."""
    if len(members) <= FEW:
        found = jnp.zeros(tokens.shape, bool)
        for member in members:
            found |= tokens == member
        return found
    table = np.zeros(max(members) + 2, bool)  # the last place stands for all that is beyond
    table[list(members)] = True
    inside = (tokens >= 0) & (tokens < len(table))
    return jnp.asarray(table)[jnp.where(inside, tokens, len(table) - 1)]


@dataclasses.dataclass(frozen=True, eq=False)
class Policy:
    """A network and the language it writes. Holds no weights; static in `jit`.

    It is hashed by identity: create one and share it, or programs compile twice.
    """

    model: LanguageModel
    format: SolutionFormat
    # prompts [B, P], solutions [B, T] to [B] int32: the answer each ends with, -1 for none
    answers: Callable[[jax.Array, jax.Array], jax.Array]

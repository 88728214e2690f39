"""A language policy: a network, and the format of the solutions it writes."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from rlsearch.networks.language_model import LanguageModel


@dataclasses.dataclass(frozen=True, eq=False)
class SolutionFormat:
    """The shape of solutions that are written in steps."""

    num_steps: int  # S, steps of a complete solution
    max_step_length: int  # L, tokens of the longest step, its end token included
    max_length: int  # T, tokens of the longest solution
    end_of_step: int  # the token that ends a step
    pad: int  # the token that stands for no token
    grammar: np.ndarray  # [T, V] bool, tokens allowed at each place of a solution
    end_of_solution: int = -1  # the token that ends a step and the solution with it; -1: none

    def ends_step(self, tokens: jax.Array) -> jax.Array:
        """`[...]` bool, the `tokens [...]` that end a step."""
        return (tokens == self.end_of_step) | (tokens == self.end_of_solution)


@dataclasses.dataclass(frozen=True, eq=False)
class Policy:
    """A network and the language it writes. Holds no weights; static in `jit`.

    It is hashed by identity: create one and share it, or programs compile twice.
    """

    model: LanguageModel
    format: SolutionFormat
    # prompts [B, P], solutions [B, T] to [B] int32: the answer each ends with, -1 for none
    answers: Callable[[jax.Array, jax.Array], jax.Array]

"""A judge: half-written solutions in, the probability that each comes out right out.

A verifier is a judge, and so is the critic of a search. It is a pytree, so that parameters of its
own pass through `jit` as arguments. One of your own is a class with the same members, in a file of
your own, named `module:Class` on the command line, and registered with
`jax.tree_util.register_dataclass` or, where it has no parameters, `register_static`. `Free` has all
of them but `score` for one that needs no network of its own, and `Stateless` those of one that
need not remember what it has read.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from rlsearch.classes import classes_of, find_class
from rlsearch.config import VERIFIER
from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.tasks.base import Task


class Memory(NamedTuple):
    """The record a judge keeps of solutions that it has read. A tree keeps `own` for each node."""

    shared: Any = ()  # of the problems, leaves [B, ...]: common to all solutions of one
    own: Any = ()  # of the solutions, leaves [B, ...]


class Critic(Protocol):
    """Values solutions while they are written, as a search asks for it."""

    def read(
        self, writer: Writer, draft: Draft, memory: Memory
    ) -> tuple[jax.Array, Memory, jax.Array]:
        """Scores solutions that it has read up to their newest step: each token is read once.

        Returns:
            `[B]` float32 in [0, 1], the probability that each of B solutions comes out right; the
            memory after that step, whose `shared` is unchanged; and `[B]` int32, the tokens that
            this reads.
        """
        ...


class Judge(Critic, Protocol):
    """Scores the newest step of solutions. Knows nothing of strategies.

    For a solution that is there, ask for its `score`; along with one that is being written, call
    `start` and then `read` after each step.
    """

    @property
    def label(self) -> str:
        """The name that stands beside a result."""
        ...

    @property
    def oracle(self) -> bool:
        """True if it knows the ground truth."""
        ...

    @property
    def aggregation(self) -> str:
        """The way to one score from those of the steps; see `aggregate`."""
        ...

    def score(self, writer: Writer, draft: Draft) -> jax.Array:
        """Scores `[B]` float32 in [0, 1] of the step that each of B solutions was last given.

        Args:
            writer: the policy, for a judge that is a head on its trunk.
            draft: the solutions, with what the policy's trunk made of them.
        """
        ...

    def tokens(self, draft: Draft) -> jax.Array:
        """Counts `[B]` int32, the tokens that `score` reads with a network of the judge's own."""
        ...

    def start(self, writer: Writer, draft: Draft) -> tuple[Memory, jax.Array]:
        """Reads the problems of empty solutions, to read along from there.

        Returns:
            The memory, and `[B]` int32, the tokens that this reads.
        """
        ...


class Stateless:
    """For judges that keep nothing: reading along is scoring what is there, again and again."""

    def start(self, writer: Writer, draft: Draft) -> tuple[Memory, jax.Array]:
        """Reads nothing."""
        del writer
        return Memory(), jnp.zeros_like(draft.line.length)

    def read(
        self: Any, writer: Writer, draft: Draft, memory: Memory
    ) -> tuple[jax.Array, Memory, jax.Array]:
        """Scores the solutions from their start."""
        return self.score(writer, draft), memory, self.tokens(draft)


class Free(Stateless):
    """For judges that read nothing with a network of their own."""

    def tokens(self, draft: Draft) -> jax.Array:
        """Counts no token: `[B]` int32 zeros."""
        return jnp.zeros_like(draft.line.length)


NAMES = ("value_head", "constant", "checker")


def load_verifier(name: str, task: Task) -> Judge:
    """The verifier `name`: one of the package by its short name, or a user's `module:Class`.

    Its class has a class method `of(task)`, which makes it.

    Raises:
        ValueError: if there is none, or it is no pytree.
    """
    found = classes_of(VERIFIER).get(name) if name in NAMES else None
    verifier = (found or find_class("verifier", name, VERIFIER, NAMES)).of(task)
    if jax.tree_util.all_leaves([verifier]):
        raise ValueError(
            f"verifier is {name!r}: its class is no pytree: register it, without parameters by "
            "jax.tree_util.register_static"
        )
    return verifier

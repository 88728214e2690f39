"""Several plain samples of each problem, judged: what a teacher without a search learns from.

Letters: B problems, n samples of each, T tokens of a solution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.tasks.base import Task
from rlsearch.verifiers.checker import Checker


class Group(NamedTuple):
    """Samples of problems, those of one side by side."""

    tokens: jax.Array  # [B, n, T] int32
    right: jax.Array  # [B, n] bool; one that was cut at its longest is wrong
    believed: jax.Array  # [B, n] float32, the policy's own value of it
    lengths: jax.Array  # [B, n] int32, tokens

    def different(self) -> jax.Array:
        """`[B, n]` bool, the right samples that no earlier one is equal to."""
        return self.right & ~repeated(self.tokens)

    def counts(self) -> jax.Array:
        """`[B, n]` int32, how many samples of its group each is equal to, itself among them."""
        return equal(self.tokens).sum(axis=2)

    def metrics(self, format: SolutionFormat) -> dict[str, jax.Array]:
        """Facts about each group `[B]`: `solved` (a sample was right), `right_solutions` (different
        ones), `sample_accuracy` (the share of right samples), `search_tokens`, and `cut` (see
        `SolutionFormat.cut_share`)."""
        return {
            "solved": self.right.any(axis=1).astype(jnp.float32),
            "right_solutions": self.different().sum(axis=1).astype(jnp.float32),
            "sample_accuracy": self.right.astype(jnp.float32).mean(axis=1),
            "search_tokens": self.lengths.sum(axis=1).astype(jnp.float32),
            **format.cut_share(self.tokens, jnp.ones(self.right.shape, bool)),
        }


def sample_groups(
    task: Task, writer: Writer, first: Draft, keys: jax.Array, number: int, sampling: Sampling
) -> Group:
    """Writes n = `number` solutions of each problem, one after another.

    Args:
        first: empty solutions of the problems.
        keys: `[B]` typed keys. Of the numbers that are folded into them, 0 is taken here.
    """
    own_keys, critic = folded(keys, 0), Checker.of_whole(task, writer.format)

    def sample(number: jax.Array) -> tuple[jax.Array, ...]:
        draft = writer.write(first, folded(own_keys, number), sampling)[0]
        right = critic.check(draft.prompt.tokens, draft.line.tokens)
        return draft.line.tokens, right, writer.value(draft), draft.line.length

    sampled = jax.lax.map(sample, jnp.arange(number))
    return Group(*(jnp.swapaxes(x, 0, 1) for x in sampled))


def repeated(tokens: jax.Array) -> jax.Array:
    """`[B, n]` bool, those of `tokens [B, n, T]` that an earlier one is equal to."""
    return jnp.tril(equal(tokens), -1).any(axis=2)


def equal(tokens: jax.Array) -> jax.Array:
    """`[B, n, n]` bool, which of `tokens [B, n, T]` are the same."""
    return (tokens[:, :, None] == tokens[:, None, :]).all(axis=3)

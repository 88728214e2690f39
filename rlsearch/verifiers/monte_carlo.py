"""Monte-Carlo labels: a step is worth what the policy makes of it (Wang et al. 2023).

From behind each step the policy writes n completions. The soft label is the share of them that come
out right, the hard one whether any does. A step that ends the solution needs none: the checker
says what it is worth.

Letters: N solutions, T tokens of a solution, S steps, n completions, D features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft, Line, Prompt
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.split import count_steps, step_ends
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.networks.attention import KeyValues
from rlsearch.tasks.base import Task
from rlsearch.verifiers.labels import StepLabels


class Read(NamedTuple):
    """Whole solutions as a policy's trunk has read them: it can go on from any step of them."""

    prompt: Prompt
    tokens: jax.Array  # [N, T] int32
    cache: KeyValues  # of the first T - 1 tokens
    hidden: jax.Array  # [N, S + 1, D] behind the prompt, and behind each step
    lengths: jax.Array  # [N, S + 1] int32, tokens up to there


def read_solutions(writer: Writer, prompts: jax.Array, solutions: jax.Array) -> Read:
    """Reads `solutions [N, T]` in one pass."""
    start, tokens = prompts.shape[1], jnp.concatenate([prompts, solutions], axis=1)
    hidden, cache = writer.policy.model.read(writer.params, tokens, writer.format.real(tokens))
    ends, present = step_ends(solutions, writer.format)
    whole = (solutions != writer.format.pad).sum(axis=1, dtype=jnp.int32)
    lengths = jnp.where(present, ends + 1, whole[:, None])
    lengths = jnp.concatenate([jnp.zeros_like(whole)[:, None], lengths], axis=1)
    at = (start + lengths - 1)[:, :, None]
    return Read(
        prompt=Prompt(prompts, cache.part(0, start)),
        tokens=solutions,
        cache=cache.part(start, cache.length - 1)._replace(real=None),
        hidden=jnp.take_along_axis(hidden, at, axis=1),
        lengths=lengths,
    )


def first_steps(read: Read, num_steps: jax.Array, format: SolutionFormat) -> Draft:
    """The first `num_steps [N]` steps of each solution, or all where it has fewer."""
    rows = jnp.arange(len(num_steps))
    length = read.lengths[rows, num_steps]
    inside = jnp.arange(read.tokens.shape[1]) < length[:, None]
    tokens = jnp.where(inside, read.tokens, format.pad)
    line = Line(
        tokens=tokens,
        num_steps=count_steps(tokens, format),
        length=length,
        hidden=read.hidden[rows, num_steps],
        cache=read.cache,
    )
    return Draft(read.prompt, line)


def roll_out(
    task: Task, writer: Writer, read: Read, num_steps: jax.Array, keys: jax.Array, number: int
) -> tuple[jax.Array, jax.Array]:
    """Writes `number` completions of the first `num_steps [N]` steps of each solution.

    Args:
        keys: `[N]` typed keys, consumed.

    Returns:
        The solutions `[N, n, T]` int32, and which are right `[N, n]` bool.
    """

    def each(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, number, axis=0)

    draft = jax.tree.map(each, first_steps(read, num_steps, writer.format))
    turns = jnp.tile(jnp.arange(number), len(num_steps))
    done = writer.complete(draft, jax.vmap(jax.random.fold_in)(each(keys), turns))
    right = task.check_tokens(done.prompt.tokens, done.line.tokens)
    shape = (len(num_steps), number)
    return done.line.tokens.reshape(*shape, -1), right.reshape(shape)


def soft_labels(
    task: Task,
    writer: Writer,
    prompts: jax.Array,
    solutions: jax.Array,
    keys: jax.Array,
    num_rollouts: int,
) -> StepLabels:
    """Labels every step of `solutions [N, T]` with the share of completions that come out right.

    Args:
        keys: `[N]` typed keys, consumed; a solution's labels depend on its own key alone.
    """
    read = read_solutions(writer, prompts, solutions)
    _, present = step_ends(solutions, writer.format)

    def share(step: jax.Array) -> jax.Array:
        step_keys = folded(keys, step)
        steps = jnp.full(prompts.shape[:1], step)
        _, right = roll_out(task, writer, read, steps, step_keys, num_rollouts)
        return right.astype(jnp.float32).mean(axis=1)

    values = jax.lax.map(share, jnp.arange(1, writer.format.num_steps + 1)).T
    # A solution that ends takes no completion behind its last step: all n are the solution itself.
    open_ended = present.sum(axis=1) - is_complete(solutions, writer.format)
    return StepLabels(
        prompts,
        solutions,
        values=jnp.where(present, values, 0.0),
        weights=present.astype(jnp.float32),
        generations=1 + num_rollouts * open_ended.astype(jnp.int32),
    )


def is_complete(solutions: jax.Array, format: SolutionFormat) -> jax.Array:
    """`[N]` int32, 1 for a solution that is complete, or cut."""
    lengths = (solutions != format.pad).sum(axis=1)
    complete = format.is_complete(solutions, lengths, count_steps(solutions, format))
    return complete.astype(jnp.int32)


def hard_labels(soft: StepLabels) -> StepLabels:
    """Labels every step with whether any completion came out right: 1[soft > 0]."""
    return soft._replace(values=(soft.values > 0).astype(jnp.float32))

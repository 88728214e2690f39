"""Monte-Carlo labels: a step is worth what the policy makes of it (Wang et al. 2023).

From behind each step the policy writes n completions. The soft label is the share of them that come
out right, the hard one whether any does. A step that ends the solution needs none: the checker
says what it is worth.

Letters: N solutions, T tokens of a solution, S steps, n completions, D features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import Prefix, StepFormat, draw_step, finished, step_ends
from rlsearch.networks.language_model import Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.verifiers.labels import StepLabels, Writer


class Read(NamedTuple):
    """Whole solutions as a policy's trunk has read them: it can go on from any step of them."""

    prompts: jax.Array  # [N, P] int32
    prompt_cache: KeyValues
    tokens: jax.Array  # [N, T] int32
    cache: KeyValues  # of the first T - 1 tokens
    hidden: jax.Array  # [N, S + 1, D] behind the prompt, and behind each step
    lengths: jax.Array  # [N, S + 1] int32, tokens up to there


def read_solutions(
    writer: Writer, params: Params, prompts: jax.Array, solutions: jax.Array
) -> Read:
    """Reads `solutions [N, T]` in one pass."""
    start = prompts.shape[1]
    hidden, cache = writer.model.read(params, jnp.concatenate([prompts, solutions], axis=1))
    ends, present = step_ends(solutions, writer.form)
    whole = (solutions != writer.form.pad).sum(axis=1, dtype=jnp.int32)
    lengths = jnp.where(present, ends + 1, whole[:, None])
    lengths = jnp.concatenate([jnp.zeros_like(whole)[:, None], lengths], axis=1)
    at = (start + lengths - 1)[:, :, None]
    return Read(
        prompts=prompts,
        prompt_cache=jax.tree.map(lambda x: x[:, :, :start], cache),
        tokens=solutions,
        cache=jax.tree.map(lambda x: x[:, :, start:-1], cache),
        hidden=jnp.take_along_axis(hidden, at, axis=1),
        lengths=lengths,
    )


def prefix_of(read: Read, num_steps: jax.Array, form: StepFormat) -> Prefix:
    """The first `num_steps [N]` steps of each solution, or all where it has fewer."""
    rows = jnp.arange(len(num_steps))
    length = read.lengths[rows, num_steps]
    inside = jnp.arange(read.tokens.shape[1]) < length[:, None]
    tokens = jnp.where(inside, read.tokens, form.pad)
    return Prefix(
        tokens=tokens,
        num_steps=form.ends_step(tokens).sum(axis=1, dtype=jnp.int32),
        length=length,
        hidden=read.hidden[rows, num_steps],
        cache=read.cache,
    )


def complete(
    writer: Writer, params: Params, prompt_cache: KeyValues, prefix: Prefix, keys: jax.Array
) -> Prefix:
    """Writes on until the last of N prefixes is finished; `keys [N]` are consumed."""

    def unfinished(carry: tuple[Prefix, jax.Array]) -> jax.Array:
        return ~finished(carry[0], writer.form).all()

    def write(carry: tuple[Prefix, jax.Array]) -> tuple[Prefix, jax.Array]:
        prefix, turn = carry
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, turn)
        prefix, _ = draw_step(writer.model, params, prompt_cache, prefix, step_keys, writer.form)
        return prefix, turn + 1

    return jax.lax.while_loop(unfinished, write, (prefix, jnp.int32(0)))[0]


def roll_out(
    writer: Writer, params: Params, read: Read, num_steps: jax.Array, keys: jax.Array, number: int
) -> tuple[jax.Array, jax.Array]:
    """`number` completions of the first `num_steps [N]` steps of each solution.

    Args:
        keys: `[N]` typed keys, consumed.

    Returns:
        The solutions `[N, n, T]` int32, and which are right `[N, n]` bool.
    """

    def each(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, number, axis=0)

    prefix = jax.tree.map(each, prefix_of(read, num_steps, writer.form))
    turns = jnp.tile(jnp.arange(number), len(num_steps))
    roll_keys = jax.vmap(jax.random.fold_in)(each(keys), turns)
    prompt_cache = jax.tree.map(each, read.prompt_cache)
    done = complete(writer, params, prompt_cache, prefix, roll_keys)
    right = writer.task.check_tokens(each(read.prompts), done.tokens)
    shape = (len(num_steps), number)
    return done.tokens.reshape(*shape, -1), right.reshape(shape)


def soft_labels(
    writer: Writer,
    params: Params,
    prompts: jax.Array,
    solutions: jax.Array,
    keys: jax.Array,
    num_rollouts: int,
) -> StepLabels:
    """Of every step of `solutions [N, T]` the share of completions that come out right.

    Args:
        keys: `[N]` typed keys, consumed; a solution's labels depend on its own key alone.
    """
    read = read_solutions(writer, params, prompts, solutions)
    _, present = step_ends(solutions, writer.form)

    def share(step: jax.Array) -> jax.Array:
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
        steps = jnp.full(prompts.shape[:1], step)
        _, right = roll_out(writer, params, read, steps, step_keys, num_rollouts)
        return right.astype(jnp.float32).mean(axis=1)

    values = jax.lax.map(share, jnp.arange(1, writer.form.num_steps + 1)).T
    # A solution that ends takes no completion behind its last step: all n are the solution itself.
    open_ended = present.sum(axis=1) - finished_at_all(solutions, writer.form)
    return StepLabels(
        prompts,
        solutions,
        values=jnp.where(present, values, 0.0),
        weights=present.astype(jnp.float32),
        generations=1 + num_rollouts * open_ended.astype(jnp.int32),
    )


def finished_at_all(solutions: jax.Array, form: StepFormat) -> jax.Array:
    """`[N]` int32, 1 for a solution that is complete."""
    ended = (solutions == form.end_of_solution).any(axis=1)
    return (ended | (form.ends_step(solutions).sum(axis=1) >= form.num_steps)).astype(jnp.int32)


def hard_labels(soft: StepLabels) -> StepLabels:
    """Of every step whether any completion came out right: 1[soft > 0]."""
    return soft._replace(values=(soft.values > 0).astype(jnp.float32))

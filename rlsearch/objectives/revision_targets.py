"""Targets of a policy that revises: a right answer behind attempts that went wrong.

The data of Snell et al. 2024, section 6.1. Of each problem n solutions are sampled, and those that
say nothing are dropped. Each right one is an answer to be learnt behind k wrong ones,

    k ~ U{0, ..., min(4, wrong solutions of the problem)}

the last of which is the wrong one nearest to the answer, and the others any. Nearness is edit
distance over tokens, where the paper counts characters: here a token is a word. The loss is on the
answer alone.

A sample that is not right makes room for a row of another kind, for the value head alone: any
solution behind 0 to 4 others, right or wrong, and whether it is right. So the policy's own critic
has learnt to judge an answer by its history too, as the paper's verifier has. In the contexts of
the policy's rows all is wrong but the answer: a critic would learn that from them and nothing else.

Letters: B problems, n samples of each, T tokens of a solution, A attempts of a context.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.contexts import ATTEMPTS, with_attempts
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.objectives.critic_samples import UNFINISHED_WEIGHT
from rlsearch.objectives.edit_distance import edit_distance
from rlsearch.objectives.step_targets import StepTargets, written
from rlsearch.tasks.base import Task


class Rows(NamedTuple):
    """One row for each of the n samples of a problem."""

    answer: jax.Array  # [n] int32, which sample is the answer
    attempts: jax.Array  # [n, A] int32, which are in the context; the newest is the last
    there: jax.Array  # [n, A] bool, where there is an attempt: the last k
    revised: jax.Array  # [n] bool, whether the answer is to be learnt
    judged: jax.Array  # [n] bool, whether it is for the value head


def draw_rows(
    key: jax.Array, tokens: jax.Array, right: jax.Array, valid: jax.Array, pad: int
) -> Rows:
    """Chooses the attempts shown before each sample of one problem.

    Args:
        key: consumed.
        tokens: `[n, T]` int32, with n at least `ATTEMPTS`.
        right: `[n]` bool.
        valid: `[n]` bool, False for those that are dropped.
    """
    number = len(tokens)
    answer_key, count_key, order_key = jax.random.split(key, 3)
    revised = right & valid
    judged = ~revised & valid.any()
    anyone = jax.random.categorical(answer_key, jnp.where(valid, 0.0, -jnp.inf), shape=(number,))
    answer = jnp.where(revised, jnp.arange(number), anyone)

    other = valid & (jnp.arange(number) != answer[:, None])
    allowed = jnp.where(revised[:, None], valid & ~right, other)  # [n, n]
    most = jnp.minimum(allowed.sum(axis=1), ATTEMPTS)
    count = jax.random.randint(count_key, (number,), 0, most + 1)

    distance = jax.vmap(jax.vmap(edit_distance, (None, 0, None)), (0, None, None))
    far = jnp.where(allowed, distance(tokens, tokens, pad), jnp.iinfo(jnp.int32).max)
    nearest = jnp.arange(number) == jnp.argmin(far, axis=1)[:, None]
    order = jax.random.uniform(order_key, (number, number))
    order = jnp.where(nearest & revised[:, None], 2.0, order)
    _, first = jax.lax.top_k(jnp.where(allowed, order, -1.0), ATTEMPTS)
    there = jnp.arange(ATTEMPTS) < count[:, None]
    return Rows(answer, first[:, ::-1], there[:, ::-1], revised, judged)


def revision_targets(
    task: Task, writer: Writer, keys: jax.Array, num_samples: int
) -> tuple[StepTargets, dict[str, jax.Array]]:
    """Samples `num_samples` solutions of one problem a key, one after another.

    Args:
        writer: the policy that writes the samples.
        keys: `[B]` typed keys, one a problem, consumed. A problem's rows depend on its own key
            alone.

    Returns:
        `B * n` rows with M = 1, those of a problem side by side, whose prompts are contexts. And
        metrics `[B]`: `sample_accuracy`, the share of samples that were right, and `attempts`, how
        many stand in front of an answer that is learnt, on average over such answers.
    """
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 3)))
    problem_keys, sample_keys, row_keys = split(keys)
    prompts, format = jax.vmap(task.draw_task_problem)(problem_keys), writer.format
    first = writer.start(prompts)

    def sample(number: jax.Array):
        own = folded(sample_keys, number)
        draft, _ = writer.write(first, own)
        tokens = draft.line.tokens
        valid = writer.finished(draft) & (task.answers(prompts, tokens) >= 0)
        return tokens, task.check_tokens(prompts, tokens), valid

    samples = jax.lax.map(sample, jnp.arange(num_samples))
    tokens, right, valid = (jnp.swapaxes(x, 0, 1) for x in samples)
    rows = jax.vmap(draw_rows, (0, 0, 0, 0, None))(row_keys, tokens, right, valid, format.pad)
    count = (rows.there & rows.revised[:, :, None]).sum(axis=(1, 2))
    metrics = {
        "sample_accuracy": right.mean(axis=1, dtype=jnp.float32),
        "attempts": count / jnp.maximum(rows.revised.sum(axis=1), 1),
    }
    targets = jax.vmap(_targets, (0, 0, 0, 0, None))(prompts, tokens, right, rows, format)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), targets)
    return jax.lax.stop_gradient(flat), metrics


def _targets(
    prompt: jax.Array, tokens: jax.Array, right: jax.Array, rows: Rows, format: SolutionFormat
) -> StepTargets:
    """The rows of one problem, `prompt [P]`, `tokens [n, T]` and `right [n]`, as targets."""
    attempts = jnp.where(rows.there[:, :, None], tokens[rows.attempts], format.pad)
    prompts = jnp.broadcast_to(prompt, (len(tokens), *prompt.shape))
    context = with_attempts(prompts, attempts, format.pad)
    steps = split_steps(tokens[rows.answer], format)[:, :, None]
    present = written(steps, format.pad)
    place = jnp.arange(format.num_steps)[:, None]
    last = place == present.sum(axis=1, keepdims=True) - 1
    value = right[rows.answer].astype(jnp.float32)
    revised, judged = (x.astype(jnp.float32)[:, None, None] for x in (rows.revised, rows.judged))
    return StepTargets(
        prompts=context.tokens,
        steps=steps,
        weights=revised * present,
        values=value[:, None, None] * present,
        value_weights=judged * present * jnp.where(last, 1.0, UNFINISHED_WEIGHT),
        prompt_values=value,
        prompt_value_weights=jnp.zeros_like(value),
        real=context.real,
    )

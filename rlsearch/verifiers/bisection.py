"""Labels by bisection with a pool of wrong rollouts (OmegaPRM, Luo et al. 2024, algorithm 1).

What is known of a problem is a set of states, partly written solutions, each with k rollouts of the
policy and their share of right ones, MC. A search takes a wrong rollout from the pool and looks for
its first error by bisection: where some rollout of its middle comes out right, the error lies
behind the middle, else before it. Every middle becomes a state, whose wrong rollouts join the pool
where 0 < MC < 1. The next rollout r to search, of state s, has the largest

    Q(s, r) + U(s),   Q = alpha^(1 - MC(s)) beta^(length(r) / L),
                      U = c sqrt(sum_i N(s_i)) / (1 + N(s))

with the tokens that r itself wrote as its length, and N the searches that have begun at a state.

Letters: B problems, M states of each, k rollouts of each, S steps, T tokens, C searches.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.split import count_steps
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.tasks.base import Task
from rlsearch.verifiers.labels import StepLabels
from rlsearch.verifiers.monte_carlo import read_solutions, roll_out

ALPHA, BETA, LENGTH, EXPLORATION = 0.5, 0.9, 500.0, 0.125


class Pool(NamedTuple):
    """The knowledge of B problems; M places for states, of which the first ones are filled."""

    num_steps: jax.Array  # [B, M] int32, steps of each state
    lengths: jax.Array  # [B, M] int32, their tokens
    values: jax.Array  # [B, M] float32, MC
    visits: jax.Array  # [B, M] int32, N
    tokens: jax.Array  # [B, M, k, T] int32, the rollouts, with the state that they go on from
    waiting: jax.Array  # [B, M, k] bool, wrong ones that no search has taken


def priorities(pool: Pool, pad: int) -> jax.Array:
    """`[B, M, k]` float32, Q + U of every rollout that may be searched, and -1 of all others."""
    written = (pool.tokens != pad).sum(axis=-1) - pool.lengths[:, :, None]
    quality = ALPHA ** (1.0 - pool.values[:, :, None]) * BETA ** (written / LENGTH)
    total = jnp.sqrt(pool.visits.sum(axis=1, keepdims=True).astype(jnp.float32))
    bonus = EXPLORATION * total / (1.0 + pool.visits)
    open_state = (pool.values > 0.0) & (pool.values < 1.0)
    allowed = pool.waiting & open_state[:, :, None]
    return jnp.where(allowed, quality + bonus[:, :, None], -1.0)


def bisect(
    good: jax.Array, bad: jax.Array, value_at: Callable[..., jax.Array], num_turns: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The first error of solutions that can be saved after `good [B]` steps, not after `bad [B]`.

    Args:
        value_at: of the turn's number, the middles `[B]` and which of them are asked for `[B]` to
            MC `[B]`; called once a turn.
        num_turns: at least the logarithm of `bad - good` to base 2.

    Returns:
        `[B]` int32, the step that is the first error, counted from 1, and for each turn the middle
        `[turns, B]` int32, 0 where nothing was asked, and its MC `[turns, B]`.
    """
    middles, values = [], []
    for turn in range(num_turns):
        asked = bad - good > 1
        middle = jnp.where(asked, (good + bad) // 2, 0)
        value = value_at(turn, middle, asked)
        good = jnp.where(asked & (value > 0), middle, good)
        bad = jnp.where(asked & ~(value > 0), middle, bad)
        middles.append(middle)
        values.append(value)
    return bad, jnp.stack(middles), jnp.stack(values)


def bisection_labels(
    task: Task,
    writer: Writer,
    prompts: jax.Array,
    keys: jax.Array,
    num_rollouts: int,
    num_searches: int,
) -> StepLabels:
    """Labels for `prompts [B, P]`: k + C rows of each, side by side.

    The k rollouts of the problem itself are labelled behind their last step, by the checker. The
    wrong rollout that a search takes is labelled, softly, behind the middles that were asked about.
    Where there is nothing to search, a row has no label and has cost nothing.

    Args:
        keys: `[B]` typed keys, consumed; a problem's labels depend on its own key alone.
        num_rollouts: k.
        num_searches: C.
    """
    format, batch = writer.format, prompts.shape[0]
    num_turns = max(1, (format.num_steps - 1).bit_length())
    places = 1 + num_searches * num_turns
    rows = jnp.arange(batch)

    blank = jnp.full((batch, format.max_length), format.pad, jnp.int32)
    empty = read_solutions(writer, prompts, blank)
    nothing = jnp.zeros((batch,), jnp.int32)
    tokens, right = roll_out(task, writer, empty, nothing, folded(keys, 0), num_rollouts)
    pool = Pool(
        num_steps=jnp.zeros((batch, places), jnp.int32),
        lengths=jnp.zeros((batch, places), jnp.int32),
        values=jnp.zeros((batch, places)).at[:, 0].set(right.mean(axis=1)),
        visits=jnp.zeros((batch, places), jnp.int32),
        tokens=jnp.full((batch, places, *tokens.shape[1:]), format.pad, jnp.int32)
        .at[:, 0]
        .set(tokens),
        waiting=jnp.zeros((batch, places, num_rollouts), bool).at[:, 0].set(~right),
    )

    def search(pool: Pool, number: jax.Array):
        priority = priorities(pool, format.pad).reshape(batch, -1)
        best = jnp.argmax(priority, axis=1)
        found = priority[rows, best] >= 0
        state, rollout = best // num_rollouts, best % num_rollouts
        pool = pool._replace(
            visits=pool.visits.at[rows, state].add(found),
            waiting=pool.waiting.at[rows, state, rollout].set(False),
        )
        solution = pool.tokens[rows, state, rollout]
        read = read_solutions(writer, prompts, solution)
        last = count_steps(solution, format)
        fresh = []

        def value_at(turn: int, middle: jax.Array, asked: jax.Array) -> jax.Array:
            # Of a problem that does not ask, all of the solution is taken: it is finished already.
            steps = jnp.where(asked, middle, last)
            turn_keys = folded(keys, 1 + number * num_turns + turn)
            tokens, right = roll_out(task, writer, read, steps, turn_keys, num_rollouts)
            value = right.astype(jnp.float32).mean(axis=1)
            fresh.append((turn, steps, tokens, right, asked, value))
            return value

        good = jnp.where(found, pool.num_steps[rows, state], last)
        _, middles, values = bisect(good, last, value_at, num_turns)
        for turn, steps, tokens, right, asked, value in fresh:
            at = 1 + number * num_turns + turn
            pool = Pool(
                num_steps=pool.num_steps.at[:, at].set(steps),
                lengths=pool.lengths.at[:, at].set(read.lengths[rows, steps]),
                values=pool.values.at[:, at].set(jnp.where(asked, value, 0.0)),
                visits=pool.visits,
                tokens=pool.tokens.at[:, at].set(tokens),
                waiting=pool.waiting.at[:, at].set(~right & asked[:, None]),
            )
        places = jnp.arange(1, format.num_steps + 1)
        at_step = (middles.T[:, :, None] == places) & (middles.T[:, :, None] > 0)
        weights = at_step.any(axis=1).astype(jnp.float32)
        labels = jnp.where(at_step, values.T[:, :, None], 0.0).sum(axis=1)
        cost = num_rollouts * (middles > 0).sum(axis=0, dtype=jnp.int32)
        return pool, (solution, labels, weights, cost)

    _, searched = jax.lax.scan(search, pool, jnp.arange(num_searches))
    searched = [jnp.swapaxes(x, 0, 1) for x in searched]
    ends = count_steps(tokens, format)[:, :, None]
    last = (jnp.arange(1, format.num_steps + 1) == ends).astype(jnp.float32)
    of_root = [tokens, last * right[:, :, None], last, jnp.ones(right.shape, jnp.int32)]
    solutions, values, weights, cost = (
        jnp.concatenate(pair, axis=1).reshape(-1, *pair[0].shape[2:])
        for pair in zip(of_root, searched, strict=True)
    )
    each = jnp.repeat(prompts, num_rollouts + num_searches, axis=0)
    return StepLabels(each, solutions, values, weights, cost)

"""Expanding nodes: distinct steps drawn behind each, and what a problem may still spend on them.

What breadth-first and depth-first search by value share. A problem's tokens are counted one step
at a time: a step is drawn only if it can be paid for whatever its length, and with it the steps
that would then still be needed to finish the best node by greedy decoding, as long as nothing is
finished. So a search never overspends, and never ends without an answer.

Letters: B problems, k nodes of each that are expanded at once, K children of each, S steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import Siblings, StepFormat, finished
from rlsearch.networks.language_model import Params
from rlsearch.strategies.base import Policy, Solutions
from rlsearch.strategies.vote import first_best
from rlsearch.strategies.writing import (
    Draft,
    Problems,
    append_distinct,
    costless,
    finish,
    total,
)
from rlsearch.verifiers.base import Verifier


class Search(NamedTuple):
    """What is known of each of B problems beside the nodes themselves."""

    best: Draft  # the node to answer from: finished before unfinished, then depth, then value
    rank: jax.Array  # [B] float32, of it
    policy_tokens: jax.Array  # [B] int32, spent
    verifier_tokens: jax.Array  # [B] int32
    bad_scores: jax.Array  # [B] int32, scores that were no numbers


class Children(NamedTuple):
    """The nodes behind k others of each problem, in the order `[B, k * K]`."""

    draft: Draft  # leaves [B, k * K, ...]
    valid: jax.Array  # [B, k * K] bool, drawn, and none of its siblings over again
    ended: jax.Array  # [B, k * K] bool, finished solutions among them
    values: jax.Array  # [B, k * K] float32, the verifier's; -1 where there is no child


def begin_search(first: Draft, read: jax.Array) -> Search:
    """Nothing spent but the tokens `read [B]` by the verifier, and only the roots known."""
    zeros = jnp.zeros_like(read)
    return Search(first, jnp.zeros(read.shape), zeros, read, zeros)


def reserve(search: Search, form: StepFormat) -> jax.Array:
    """`[B]` int32, tokens that finishing the best node may take."""
    best = search.best.prefix
    left = jnp.minimum((form.num_steps - best.num_steps) * form.max_step_length, form.max_length)
    return jnp.where(finished(best, form), 0, left)


def affordable(search: Search, form: StepFormat, budget_tokens: int) -> jax.Array:
    """`[B]` bool, whether one more step can be paid for."""
    least = search.policy_tokens + form.max_step_length + reserve(search, form)
    return least <= budget_tokens


def expand(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    parents: Draft,
    going_on: jax.Array,
    search: Search,
    keys: jax.Array,
    num_children: int,
    budget_tokens: int,
    temperature: float,
    min_p: float,
) -> tuple[Children, Search]:
    """Draws K distinct children of each of k nodes, as far as the problem's budget goes.

    The first child of all nodes comes before the second of any, and where not all can be paid for
    those of the first nodes are drawn.

    Args:
        problems: of the `B * k` nodes.
        parents: leaves `[B * k, ...]`, the nodes of a problem side by side.
        going_on: `[B, k]` bool, places that hold an unfinished node.
        keys: `[B]` typed keys, consumed.
        num_children: K.
    """
    form, (batch, places) = policy.form, going_on.shape
    parents = costless(parents)
    blank = jnp.full((batch * places, num_children, form.max_step_length), form.pad, jnp.int32)
    siblings = Siblings(blank, jnp.zeros(blank.shape), jnp.zeros(blank.shape[:2], bool))
    dearest = jnp.cumsum(going_on, axis=1) * form.max_step_length

    def draw(carry: tuple[Siblings, Search], number: jax.Array):
        siblings, search = carry
        least = (search.policy_tokens + reserve(search, form))[:, None] + dearest
        paid = (going_on & (least <= budget_tokens)).reshape(-1)
        numbers = number * places + jnp.arange(places)
        place_keys = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, numbers))
        drawn, step = append_distinct(
            policy,
            params,
            verifier,
            problems,
            parents,
            place_keys(keys).reshape(-1),
            temperature,
            siblings,
            min_p,
        )
        siblings = Siblings(
            tokens=siblings.tokens.at[:, number].set(step.tokens),
            draw_log_probs=siblings.draw_log_probs.at[:, number].set(step.draw_log_probs),
            present=siblings.present.at[:, number].set(paid),
        )
        valid = paid & ~step.duplicate
        ended = valid & finished(drawn.prefix, form)
        values = jnp.where(valid, total(drawn, verifier), -1.0)
        costs = drawn.policy_tokens, drawn.verifier_tokens, drawn.bad_scores
        spent = (jnp.where(paid, x, 0).reshape(batch, places).sum(axis=1) for x in costs)
        added = (old + new for old, new in zip(search[2:], spent, strict=True))
        search = Search(*_better(search, drawn, values, ended), *added)
        return (siblings, search), Children(drawn, valid, ended, values)

    (_, search), drawn = jax.lax.scan(draw, (siblings, search), jnp.arange(num_children))

    def side_by_side(x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(x.reshape(num_children, batch, places, *x.shape[2:]), 0, 1)
        return x.reshape(batch, num_children * places, *x.shape[3:])

    return jax.tree.map(side_by_side, drawn), search


def _better(
    search: Search, nodes: Draft, values: jax.Array, ended: jax.Array
) -> tuple[Draft, jax.Array]:
    """The best node when `nodes [B * k]` are known too, and its rank."""
    batch = search.rank.shape[0]
    # Values lie in [0, 1]; one of -1 is no node. What is finished ranks over all that is not.
    written, most = nodes.prefix.num_steps, nodes.prefix.tokens.shape[1]
    rank = values + 2.0 * written + 2.0 * (most + 1) * ended
    rank = jnp.where(values < 0, -1.0, rank).reshape(batch, -1)
    index = jnp.argmax(rank, axis=1)
    highest = jnp.take_along_axis(rank, index[:, None], axis=1)[:, 0]
    improved = highest > search.rank
    at = jnp.arange(batch) * rank.shape[1] + index

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(improved.reshape(-1, *[1] * (old.ndim - 1)), new[at], old)

    return jax.tree.map(choose, nodes, search.best), jnp.maximum(highest, search.rank)


def answer(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    search: Search,
    tokens: jax.Array,
    scores: jax.Array,
    keys: jax.Array,
) -> Solutions:
    """Of the finished solutions the one with the highest score; where there is none, the best node
    finished by greedy decoding.

    Args:
        problems: of the B problems.
        tokens: `[B, n, T]` int32.
        scores: `[B, n]` float32, -1 where there is no solution.
        keys: `[B]` typed keys, which greedy decoding makes nothing of.
    """
    rows, chosen = jnp.arange(scores.shape[0]), first_best(scores)
    found = scores[rows, chosen] >= 0
    last = finish(policy, params, verifier, problems, search.best, keys)
    return Solutions(
        tokens=jnp.where(found[:, None], tokens[rows, chosen], last.prefix.tokens),
        score=jnp.where(found, scores[rows, chosen], total(last, verifier)),
        all_tokens=tokens,
        all_scores=scores,
        generations=jnp.maximum((scores >= 0).sum(axis=1), 1),
        policy_tokens=search.policy_tokens + jnp.where(found, 0, last.policy_tokens),
        verifier_tokens=search.verifier_tokens + jnp.where(found, 0, last.verifier_tokens),
        bad_scores=search.bad_scores + jnp.where(found, 0, last.bad_scores),
    )

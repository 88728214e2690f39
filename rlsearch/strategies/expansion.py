"""Expanding nodes: distinct steps drawn behind each, and what a problem may still spend on them.

What breadth-first and depth-first search by value share. A problem's tokens are counted one step
at a time: a step is drawn only if it can be paid for whatever its length, and with it the steps
that would then still be needed to finish the best node by greedy decoding, as long as nothing is
finished. So a search never overspends, and never ends without an answer.

Letters: B problems, k nodes of each that are expanded at once, K children of each, S steps.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Siblings
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.sampling import Sampling
from rlsearch.strategies.base import Solutions
from rlsearch.strategies.vote import first_best
from rlsearch.strategies.writing import Judged, Problems, append, choose, finish


@dataclasses.dataclass(frozen=True)
class Expansion:
    """The way nodes are expanded."""

    problems: Problems  # of the `B * k` nodes
    num_children: int  # K
    budget_tokens: int  # of each problem
    sampling: Sampling


class Search(NamedTuple):
    """The state of B searches beside their nodes."""

    best: Judged  # the node to answer from: finished before unfinished, then depth, then value
    rank: jax.Array  # [B] float32, of it
    policy_tokens: jax.Array  # [B] int32, spent
    verifier_tokens: jax.Array  # [B] int32
    bad_scores: jax.Array  # [B] int32, scores that were no numbers


class Children(NamedTuple):
    """The nodes behind k others of each problem, in the order `[B, k * K]`."""

    judged: Judged  # leaves [B, k * K, ...]
    valid: jax.Array  # [B, k * K] bool, drawn, and none of its siblings over again
    ended: jax.Array  # [B, k * K] bool, finished solutions among them
    values: jax.Array  # [B, k * K] float32, the judge's; -1 where there is no child


def begin_search(first: Judged, read: jax.Array) -> Search:
    """Begins with the roots alone, and with the tokens `read [B]` by the judge spent."""
    zeros = jnp.zeros_like(read)
    return Search(first, jnp.zeros(read.shape), zeros, read, zeros)


def reserve(search: Search, format: SolutionFormat) -> jax.Array:
    """`[B]` int32, tokens that finishing the best node may take."""
    best = search.best.line
    left = (format.num_steps - best.num_steps) * format.max_step_length
    return jnp.where(best.finished(format), 0, jnp.minimum(left, format.max_length))


def affordable(search: Search, format: SolutionFormat, budget_tokens: int) -> jax.Array:
    """`[B]` bool, whether one more step can be paid for."""
    least = search.policy_tokens + format.max_step_length + reserve(search, format)
    return least <= budget_tokens


def expand(
    expansion: Expansion,
    parents: Judged,
    going_on: jax.Array,
    search: Search,
    keys: jax.Array,
) -> tuple[Children, Search]:
    """Draws K distinct children of each of k nodes, as far as the problem's budget goes.

    The first child of all nodes comes before the second of any, and where not all can be paid for
    those of the first nodes are drawn.

    Args:
        parents: leaves `[B * k, ...]`, the nodes of a problem side by side.
        going_on: `[B, k]` bool, places that hold an unfinished node.
        keys: `[B]` typed keys, consumed.
    """
    problems, num_children = expansion.problems, expansion.num_children
    format, (batch, places) = problems.writer.format, going_on.shape
    parents = parents.costless()
    blank = jnp.full((batch * places, num_children, format.max_step_length), format.pad, jnp.int32)
    siblings = Siblings(blank, jnp.zeros(blank.shape), jnp.zeros(blank.shape[:2], bool))
    dearest = jnp.cumsum(going_on, axis=1) * format.max_step_length

    def draw(carry: tuple[Siblings, Search], number: jax.Array):
        siblings, search = carry
        least = (search.policy_tokens + reserve(search, format))[:, None] + dearest
        paid = (going_on & (least <= expansion.budget_tokens)).reshape(-1)
        numbers = number * places + jnp.arange(places)
        place_keys = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, numbers))
        drawn, step = append(
            problems, parents, place_keys(keys).reshape(-1), expansion.sampling, siblings
        )
        siblings = Siblings(
            tokens=siblings.tokens.at[:, number].set(step.tokens),
            draw_log_probs=siblings.draw_log_probs.at[:, number].set(step.draw_log_probs),
            present=siblings.present.at[:, number].set(paid),
        )
        valid = paid & ~step.duplicate
        ended = valid & drawn.line.finished(format)
        values = jnp.where(valid, drawn.total(problems.judge), -1.0)
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
    search: Search, nodes: Judged, values: jax.Array, ended: jax.Array
) -> tuple[Judged, jax.Array]:
    """The best node when `nodes [B * k]` are known too, and its rank."""
    batch = search.rank.shape[0]
    # Values lie in [0, 1]; one of -1 is no node. What is finished ranks over all that is not.
    written, most = nodes.line.num_steps, nodes.line.tokens.shape[1]
    rank = values + 2.0 * written + 2.0 * (most + 1) * ended
    rank = jnp.where(values < 0, -1.0, rank).reshape(batch, -1)
    index = jnp.argmax(rank, axis=1)
    highest = jnp.take_along_axis(rank, index[:, None], axis=1)[:, 0]
    at = jnp.arange(batch) * rank.shape[1] + index
    best = choose(highest > search.rank, jax.tree.map(lambda x: x[at], nodes), search.best)
    return best, jnp.maximum(highest, search.rank)


def answer(
    problems: Problems, search: Search, tokens: jax.Array, scores: jax.Array, sure: jax.Array
) -> Solutions:
    """Answers with the finished solution that is the surest; where there is none, with the best
    node finished by greedy decoding.

    Args:
        problems: of the B problems.
        tokens: `[B, n, T]` int32.
        scores: `[B, n]` float32, -1 where there is no solution.
        sure: `[B, n]` float32, `drawing.confidence` of them.
    """
    rows, chosen = jnp.arange(scores.shape[0]), first_best(sure)
    found = scores[rows, chosen] >= 0
    last = finish(problems, search.best)
    return Solutions(
        tokens=jnp.where(found[:, None], tokens[rows, chosen], last.line.tokens),
        score=jnp.where(found, scores[rows, chosen], last.total(problems.judge)),
        all_tokens=tokens,
        all_scores=scores,
        generations=jnp.maximum((scores >= 0).sum(axis=1), 1),
        policy_tokens=search.policy_tokens + jnp.where(found, 0, last.policy_tokens),
        verifier_tokens=search.verifier_tokens + jnp.where(found, 0, last.verifier_tokens),
        bad_scores=search.bad_scores + jnp.where(found, 0, last.bad_scores),
    )

"""Depth-first search by value, DFS-V (Feng et al. 2023): down the best child, then the next best.

A node's K children are drawn at once, and visited in the order of their values; one whose value is
below a threshold is not. When all below a node are done, the search goes back to what it left open,
until nothing is open, or nothing can be paid, or four times the budget's solutions are finished:
those that share their first steps are cheaper than samples.

What is open waits on a stack of S K nodes for each problem, each with the keys and values of its
whole solution: K solutions' worth of drafts at each depth, whatever the budget. One turn of the
loop expands one node of every problem, and the loop turns until the last problem is done: a
problem that is done early waits, costs nothing more, and is not touched.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.drawing import Drawing
from rlsearch.strategies.expansion import (
    Expansion,
    Search,
    affordable,
    answer,
    begin_search,
    expand,
)
from rlsearch.strategies.writing import Judged, begin
from rlsearch.verifiers.base import Judge

SOLUTIONS_FOR_ONE_PAID = 4


class State(NamedTuple):
    """The state of B searches; n finished solutions of each at most."""

    stack: Judged  # leaves [B, S * K, ...]: K nodes of each depth
    values: jax.Array  # [B, S, K] float32, of what is open; -1 elsewhere
    search: Search
    tokens: jax.Array  # [B, n, T] int32, finished solutions in the order in which they were found
    scores: jax.Array  # [B, n] float32; -1 where there is none yet
    log_probs: jax.Array  # [B, n] float32
    turn: jax.Array  # [] int32


@dataclasses.dataclass(frozen=True)
class DfsV(Drawing):
    """Spends a budget to its end where nothing is pruned and K is not too small."""

    children: int = 6  # K, distinct steps behind a node
    prune_below: float = 0.01  # the threshold; of a value in [0, 1]

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        most = SOLUTIONS_FOR_ONE_PAID * budget.solutions
        return {"max_solutions": most, **dataclasses.asdict(self)}

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        (batch, _), format, width = prompts.shape, writer.format, self.children
        problems, first, read = begin(writer, judge, prompts)
        expansion = Expansion(problems, width, budget.tokens, self.sampling)
        rows, depths = jnp.arange(batch), format.num_steps
        wanted = SOLUTIONS_FOR_ONE_PAID * budget.solutions
        most = wanted + width - 1  # the last expansion may find more

        def active(state: State) -> jax.Array:
            """`[B]` bool, the problems that go on."""
            wanting = (state.scores >= 0).sum(axis=1) < wanted
            something_open = (state.values >= 0).any(axis=(1, 2))
            return something_open & wanting & affordable(state.search, format, budget.tokens)

        def expand_next(state: State) -> State:
            on = active(state)
            # The deepest open nodes are siblings: the best of them is next.
            depth = (depths - 1) - jnp.argmax((state.values >= 0).any(axis=2)[:, ::-1], axis=1)
            place = jnp.argmax(state.values[rows, depth], axis=1)
            at = depth * width + place
            node = jax.tree.map(lambda x: x[rows, at], state.stack)
            values = state.values.at[rows, depth, place].set(
                jnp.where(on, -1.0, state.values[rows, depth, place])
            )
            turn_keys = folded(keys, state.turn)
            children, search = expand(expansion, node, on[:, None], state.search, turn_keys)
            # Behind the last depth there is no place on the stack: nothing unfinished is there.
            below = jnp.where(on, depth + 1, depths)[:, None]
            goes_on = ~children.ended & (children.values >= self.prune_below)
            values = values.at[rows[:, None], below, jnp.arange(width)].set(
                jnp.where(goes_on, children.values, -1.0), mode="drop"
            )
            stack = jax.tree.map(
                lambda old, new: old.at[rows[:, None], below * width + jnp.arange(width)].set(
                    new, mode="drop"
                ),
                state.stack,
                children.judged,
            )
            number = (state.scores >= 0).sum(axis=1)[:, None]
            number += jnp.cumsum(children.ended, axis=1) - 1
            number = jnp.where(children.ended, number, most)
            return State(
                stack,
                values,
                search,
                state.tokens.at[rows[:, None], number].set(
                    children.judged.line.tokens, mode="drop"
                ),
                state.scores.at[rows[:, None], number].set(children.values, mode="drop"),
                state.log_probs.at[rows[:, None], number].set(
                    children.judged.log_prob, mode="drop"
                ),
                state.turn + 1,
            )

        state = State(
            stack=jax.tree.map(lambda x: jnp.repeat(x[:, None], depths * width, axis=1), first),
            values=jnp.full((batch, depths, width), -1.0).at[:, 0, 0].set(1.0),
            search=begin_search(first, read),
            tokens=jnp.broadcast_to(first.line.tokens[:, None], (batch, most, format.max_length)),
            scores=jnp.full((batch, most), -1.0),
            log_probs=jnp.zeros((batch, most)),
            turn=jnp.int32(0),
        )
        state = jax.lax.while_loop(lambda state: active(state).any(), expand_next, state)
        sure = self.confidence(state.scores, state.log_probs)
        return answer(problems, state.search, state.tokens, state.scores, sure)

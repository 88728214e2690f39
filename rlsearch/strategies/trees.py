"""One tree grown against a judge, and its cost: what tree searches share.

A node is worth the judge's aggregation of all its steps so far, as everywhere: a judge that scores
each step by itself would else forget the mistakes before the newest one.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.search.mcts import Tree
from rlsearch.search.result import Decision
from rlsearch.search.search import search
from rlsearch.search.summary import path_sums
from rlsearch.strategies.base import Solutions
from rlsearch.strategies.writing import Judged, Problems, finish, sound, with_newest
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Memory

SIMULATIONS_PER_CANDIDATE = 5  # a wider root would spend them on first steps alone


class NodeMemory(NamedTuple):
    """The record that a tree keeps of each node for the judge."""

    own: Any  # the judge's own
    scores: jax.Array  # [B, S] float32, of each step
    bad: jax.Array  # [B] bool, the newest score was no number


@dataclasses.dataclass(frozen=True)
class NodeCritic:
    """Values a node by all its steps, with a judge that reads each of them once."""

    judge: Any  # a `Judge`

    def read(
        self, writer: Writer, draft: Draft, memory: Memory
    ) -> tuple[jax.Array, Memory, jax.Array]:
        """See `Judge.read`; what it keeps of a node is a `NodeMemory`."""
        before: NodeMemory = memory.own
        score, after, tokens = self.judge.read(writer, draft, memory._replace(own=before.own))
        score, bad = sound(score)
        scores = with_newest(before.scores, draft.line, score)
        value = aggregate(scores, draft.line.num_steps, self.judge.aggregation)
        value = jnp.where(draft.line.num_steps > 0, value, score)
        return value, after._replace(own=NodeMemory(after.own, scores, bad)), tokens


def width(simulations: int) -> int:
    """The number of candidates of a node, in a tree of so many simulations."""
    return max(simulations // SIMULATIONS_PER_CANDIDATE, 4)


def grow(
    problems: Problems, root: Judged, keys: jax.Array, config: SearchConfig
) -> tuple[Decision, jax.Array]:
    """Grows a tree over whole steps from each of B solutions so far, valued by the judge.

    Args:
        keys: `[B]` typed keys, consumed.

    Returns:
        The decision with its tree, and `[B, 3]` int32: tokens of the policy, tokens of the judge,
        which of a node reads only what is new in it if it remembers the parent, and scores that
        were no numbers.
    """
    writer, judge, prompt, shared = problems
    own = NodeMemory(root.memory, root.scores, jnp.zeros(keys.shape, bool))
    draft, memory = Draft(prompt, root.line), Memory(shared, own)
    decision = search(writer, NodeCritic(judge), draft, memory, keys, config)
    grown = decision.grown
    nodes = grown.tree.embeddings
    bad = nodes.memory.bad & (nodes.step.length > 0)
    cost = grown.tokens, nodes.read.sum(axis=1), bad.sum(axis=1)
    return decision, jnp.stack(cost, axis=1)


def nodes_of(tree: Tree, root: Judged) -> Judged:
    """The solutions so far of all nodes, leaves `[B, N + 1, ...]`; their costs are not known.

    Args:
        root: the solutions `[B]` that the trees were grown from.
    """
    nodes = tree.embeddings
    zeros = jnp.zeros_like(nodes.line.length)
    log_prob = root.log_prob[:, None] + path_sums(tree, nodes.step.prior_log_prob)
    own = nodes.memory
    return Judged(nodes.line, own.own, own.scores, log_prob, zeros, zeros, zeros)


def conclude(
    problems: Problems, best: Judged, tokens: jax.Array, scores: jax.Array, spent: jax.Array
) -> Solutions:
    """Answers with `best [B]`, finished by greedy decoding where they are not.

    Args:
        tokens, scores: `[B, n, T]` and `[B, n]`, all that was found; see `Solutions`.
        spent: `[B, 3]` int32, see `grow`.
    """
    answer = finish(problems, best)
    return Solutions(
        tokens=answer.line.tokens,
        score=answer.total(problems.judge),
        all_tokens=tokens,
        all_scores=scores,
        generations=jnp.maximum((scores >= 0).sum(axis=1), 1),
        policy_tokens=spent[:, 0] + answer.policy_tokens,
        verifier_tokens=spent[:, 1] + answer.verifier_tokens,
        bad_scores=spent[:, 2] + answer.bad_scores,
    )

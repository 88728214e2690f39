"""One tree grown against a verifier, and what that takes: what tree searches share.

A node is worth what the verifier makes of all its steps so far, by its own aggregation, as
everywhere: a verifier that judges each step by itself would else forget the mistakes before the
newest one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.networks.language_model import Params
from rlsearch.search.critic import Critic
from rlsearch.search.mcts import Tree
from rlsearch.search.result import StepSearchResult
from rlsearch.search.search import search
from rlsearch.strategies.base import Policy, Solutions
from rlsearch.strategies.writing import Draft, Problems, finish, sound, total, with_newest
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Verifier

SIMULATIONS_PER_CANDIDATE = 5  # a wider root would spend them on first steps alone


class Judged(NamedTuple):
    """What a tree keeps of each node for the verifier."""

    memory: Any  # what the verifier keeps
    scores: jax.Array  # [B, S] float32, of each step
    bad: jax.Array  # [B] bool, the newest score was no number


def width(simulations: int) -> int:
    """Candidates of a node, in a tree of so many simulations."""
    return max(simulations // SIMULATIONS_PER_CANDIDATE, 4)


def grow(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    root: Draft,
    keys: jax.Array,
    config: SearchConfig,
) -> tuple[StepSearchResult, jax.Array]:
    """A tree over whole steps from each of B solutions so far, valued by the verifier.

    Args:
        keys: `[B]` typed keys, consumed.

    Returns:
        The result with its tree, and `[B, 3]` int32: tokens of the policy, tokens of the verifier,
        which of a node reads only what is new in it if it remembers the parent, and scores that
        were no numbers.
    """

    def read(model, params, prompts, prefix, form, shared, judged: Judged):
        score, memory, tokens = verifier.read(
            model, params, prompts, prefix, form, shared, judged.memory
        )
        score, bad = sound(score)
        scores = with_newest(judged.scores, prefix, score)
        value = aggregate(scores, prefix.num_steps, verifier.aggregation)
        value = jnp.where(prefix.num_steps > 0, value, score)
        return value, Judged(memory, scores, bad), tokens

    judged = Judged(root.memory, root.scores, jnp.zeros(keys.shape, bool))
    result, _ = search(
        params,
        keys,
        problems.prompts,
        problems.cache,
        root.prefix,
        policy.model,
        policy.form,
        config,
        Critic(read, problems.shared, judged),
    )
    nodes = result.tree.embeddings
    bad = nodes.memory.bad & (nodes.step.length > 0)
    return result, jnp.stack([result.tokens, nodes.read.sum(axis=1), bad.sum(axis=1)], axis=1)


def drafts(tree: Tree) -> Draft:
    """The solutions so far of all nodes, leaves `[B, N + 1, ...]`; what they cost is not said."""
    nodes = tree.embeddings
    zeros = jnp.zeros_like(nodes.prefix.length)
    return Draft(nodes.prefix, nodes.memory.memory, nodes.memory.scores, zeros, zeros, zeros)


def conclude(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    best: Draft,
    tokens: jax.Array,
    scores: jax.Array,
    spent: jax.Array,
    keys: jax.Array,
) -> Solutions:
    """The answers: `best [B]`, finished by greedy decoding where they are not.

    Args:
        tokens, scores: `[B, n, T]` and `[B, n]`, all that was found; see `Solutions`.
        spent: `[B, 3]` int32, see `grow`.
        keys: `[B]` typed keys, which greedy decoding makes nothing of.
    """
    answer = finish(policy, params, verifier, problems, best, keys)
    return Solutions(
        tokens=answer.prefix.tokens,
        score=total(answer, verifier),
        all_tokens=tokens,
        all_scores=scores,
        generations=jnp.maximum((scores >= 0).sum(axis=1), 1),
        policy_tokens=spent[:, 0] + answer.policy_tokens,
        verifier_tokens=spent[:, 1] + answer.verifier_tokens,
        bad_scores=spent[:, 2] + answer.bad_scores,
    )

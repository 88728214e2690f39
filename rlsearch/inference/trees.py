"""One tree grown against a verifier, and what that takes: what tree searches share."""

from typing import Any

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import Prefix, finished
from rlsearch.inference.base import Policy, Solutions
from rlsearch.inference.writing import Problems, finish
from rlsearch.networks.language_model import Params
from rlsearch.search.result import StepSearchResult
from rlsearch.search.score import Critic
from rlsearch.search.search import search
from rlsearch.verifiers.base import Verifier

SIMULATIONS_PER_CANDIDATE = 5  # a wider root would spend them on first steps alone


def width(simulations: int) -> int:
    """Candidates of a node, in a tree of so many simulations."""
    return max(simulations // SIMULATIONS_PER_CANDIDATE, 4)


def grow(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    root: Prefix,
    memory: Any,
    keys: jax.Array,
    config: SearchConfig,
) -> tuple[StepSearchResult, jax.Array]:
    """A tree over whole steps from each of B solutions so far, valued by the verifier.

    Args:
        memory: what the verifier keeps of the roots; see `Verifier.read`.
        keys: `[B]` typed keys, consumed.

    Returns:
        The result with its tree, and the tokens `[B]` int32 that the verifier has read, of the root
        and of every node in which something was written: of a node only what is new in it, where
        the verifier remembers its parent.
    """

    def read(*what) -> tuple[jax.Array, Any, jax.Array]:  # a score that is no number counts as 0
        score, memory, tokens = verifier.read(*what)
        return jnp.clip(jnp.nan_to_num(score, nan=0.0), 0.0, 1.0), memory, tokens

    result, _ = search(
        params,
        keys,
        problems.prompts,
        problems.cache,
        root,
        policy.model,
        policy.form,
        config,
        Critic(read, problems.shared, memory),
    )
    return result, result.tree.embeddings.read.sum(axis=1)


def conclude(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    best: Prefix,
    tokens: jax.Array,
    scores: jax.Array,
    spent: jax.Array,
    keys: jax.Array,
) -> Solutions:
    """The answers: `best [B]`, finished by greedy decoding where they are not.

    Args:
        tokens, scores: `[B, n, T]` and `[B, n]`, all that was found; see `Solutions`.
        spent: `[B, 2]` int32, tokens of the policy and of the verifier so far.
        keys: `[B]` typed keys, which greedy decoding makes nothing of.
    """
    answer, lengths = finish(policy, params, problems.cache, best, keys)
    said = verifier.score(policy.model, params, problems.prompts, answer, policy.form)
    # Of an answer that was finished in a tree the verifier has said that before.
    read = jnp.where(finished(best, policy.form), 0, verifier.tokens(problems.prompts, answer))
    return Solutions(
        tokens=answer.tokens,
        score=jnp.clip(jnp.nan_to_num(said, nan=0.0), 0.0, 1.0),
        all_tokens=tokens,
        all_scores=scores,
        generations=jnp.maximum((scores >= 0).sum(axis=1), 1),
        policy_tokens=spent[:, 0] + lengths,
        verifier_tokens=spent[:, 1] + read,
        bad_scores=jnp.isnan(said).astype(jnp.int32),  # those of the nodes are not counted
    )

"""One tree grown against a verifier, and what that takes: what tree searches share."""

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.steps import Prefix, finished
from rlsearch.inference.base import Policy, Solutions
from rlsearch.inference.writing import finish
from rlsearch.networks.language_model import Params
from rlsearch.networks.transformer import KeyValues
from rlsearch.search.result import StepSearchResult
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
    prompts: jax.Array,
    keys: jax.Array,
    prompt_cache: KeyValues,
    root: Prefix,
    config: SearchConfig,
) -> tuple[StepSearchResult, jax.Array]:
    """A tree over whole steps from each of B solutions so far, valued by the verifier.

    Args:
        keys: `[B]` typed keys, consumed.

    Returns:
        The result with its tree, and the tokens `[B]` int32 that the verifier has read: of the root
        and of every node in which something was written.
    """

    def score(*what) -> jax.Array:  # a score that is no number counts as 0
        return jnp.clip(jnp.nan_to_num(verifier.score(*what), nan=0.0), 0.0, 1.0)

    model, form = policy.model, policy.form
    result, _ = search(params, keys, prompts, prompt_cache, root, model, form, config, score)
    nodes = result.tree.embeddings
    read = jax.vmap(verifier.tokens, (None, 1), 1)(prompts, nodes.prefix)
    read = jnp.where(nodes.step.length > 0, read, 0).sum(axis=1)
    return result, read + jnp.where(finished(root, form), 0, verifier.tokens(prompts, root))


def conclude(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    prompts: jax.Array,
    prompt_cache: KeyValues,
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
    answer, lengths = finish(policy, params, prompt_cache, best, keys)
    said = verifier.score(policy.model, params, prompts, answer, policy.form)
    return Solutions(
        tokens=answer.tokens,
        score=jnp.clip(jnp.nan_to_num(said, nan=0.0), 0.0, 1.0),
        all_tokens=tokens,
        all_scores=scores,
        generations=jnp.maximum((scores >= 0).sum(axis=1), 1),
        policy_tokens=spent[:, 0] + lengths,
        verifier_tokens=spent[:, 1] + verifier.tokens(prompts, answer),
        bad_scores=jnp.isnan(said).astype(jnp.int32),  # those of the nodes are not counted
    )

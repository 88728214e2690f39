"""Search against a verifier, step by step, with many beams at once (Snell et al. 2024, section 5).

Every round each of a problem's N drafts gets one more step, and the verifier scores it. Then, in
each of G groups of n = N / G drafts, the best n / M stay and M drafts go on from each. Behind the
last step all N are candidates.

    beam search                   G = 1
    diverse verifier tree search  G = N / M: one of M stays, and groups are never compared
    lookahead                     each draft is first rolled k steps further at temperature 0,
                                  scored there, and the roll-out is thrown away

Letters: B problems, N drafts of each, M drafts that go on from one, S steps.
"""

import jax
import jax.numpy as jnp

from rlsearch.decoding.steps import finished
from rlsearch.networks.language_model import Params
from rlsearch.strategies.base import Policy
from rlsearch.strategies.candidates import Candidates, candidates
from rlsearch.strategies.writing import Draft, Problems, append, begin, total
from rlsearch.verifiers.base import Verifier


def search_beams(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    prompts: jax.Array,
    keys: jax.Array,
    num_drafts: int,
    expansions: int,
    groups: int,
    lookahead: int,
    temperature: float,
) -> Candidates:
    """The N finished drafts of each of `prompts [B, P]`; the keys `[B]` are consumed.

    Args:
        num_drafts: N, a multiple of `groups * expansions`.
        expansions: M.
        groups: G.
        lookahead: k.
        temperature: of the steps that are kept.
    """
    batch, num_steps = prompts.shape[0], policy.form.num_steps
    problems, first, read = begin(policy, params, verifier, prompts)

    def each_draft(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, num_drafts, axis=0)

    problems, first = jax.tree.map(each_draft, (problems, first))
    # Draft number i is written with the keys of sample number i, so that M = 1 is sampling.
    number = jnp.tile(jnp.arange(num_drafts), batch)
    draft_keys = jax.vmap(jax.random.fold_in)(each_draft(keys), number)
    step_keys = jax.vmap(lambda key: jax.random.split(key, num_steps))(draft_keys)
    step_keys = jnp.swapaxes(step_keys, 0, 1)

    def write(draft: Draft, keys: jax.Array) -> Draft:
        return append(policy, params, verifier, problems, draft, keys, temperature)

    def turn(carry: tuple[Draft, jax.Array], keys: jax.Array):
        draft, usable = carry
        draft = write(draft, keys)
        rank, draft = _rank(policy, params, verifier, problems, draft, keys, lookahead)
        rank = jnp.where(usable.reshape(-1), rank, -1.0)
        kept, copy = _keep(rank.reshape(batch, groups, -1), expansions)
        source = jnp.arange(batch)[:, None] * num_drafts + kept
        going_on = jax.tree.map(lambda x: x[source.reshape(-1)], draft)
        # What was spent stays where it was spent: it is summed over a problem in the end.
        going_on = going_on._replace(
            policy_tokens=draft.policy_tokens,
            verifier_tokens=draft.verifier_tokens,
            bad_scores=draft.bad_scores,
        )
        # A finished draft does not go on: of its copies only the first may be chosen.
        ended = finished(going_on.prefix, policy.form).reshape(batch, -1)
        usable = jnp.take_along_axis(usable, kept, axis=1) & ~(ended & (copy > 0))
        return (going_on, usable), None

    usable = jnp.ones((batch, num_drafts), bool)
    (draft, usable), _ = jax.lax.scan(turn, (first, usable), step_keys[:-1])
    draft = write(draft, step_keys[-1])
    found = candidates(policy, verifier, problems.prompts, draft, usable)
    return found._replace(verifier_tokens=found.verifier_tokens + read)


def _keep(rank: jax.Array, expansions: int) -> tuple[jax.Array, jax.Array]:
    """Which draft each place goes on from, `[B, N]`, and which copy of it, for `rank [B, G, n]`.

    Those that stay keep their order, so that with M = 1 nothing moves.
    """
    batch, groups, size = rank.shape
    _, best = jax.lax.top_k(rank, size // expansions)
    best = jnp.sort(best, axis=-1) + (jnp.arange(groups) * size)[:, None]
    kept = jnp.repeat(best, expansions, axis=-1).reshape(batch, -1)
    copy = jnp.tile(jnp.arange(expansions), groups * size // expansions)
    return kept, jnp.broadcast_to(copy, kept.shape)


def _rank(
    policy: Policy,
    params: Params,
    verifier: Verifier,
    problems: Problems,
    draft: Draft,
    keys: jax.Array,
    lookahead: int,
) -> tuple[jax.Array, Draft]:
    """By what drafts `[B * N]` are compared, and the drafts with what that has cost.

    With lookahead the newest step's score is the one at the end of its roll-out.
    """
    ahead = draft
    for _ in range(lookahead):
        ahead = append(policy, params, verifier, problems, ahead, keys, 0.0)
    newest = jnp.arange(draft.scores.shape[1]) == (draft.prefix.num_steps - 1)[:, None]
    last = jnp.maximum(ahead.prefix.num_steps - 1, 0)[:, None]
    end = jnp.take_along_axis(ahead.scores, last, axis=1)
    seen = draft._replace(scores=jnp.where(newest, end, draft.scores))
    paid = draft._replace(
        policy_tokens=ahead.policy_tokens,
        verifier_tokens=ahead.verifier_tokens,
        bad_scores=ahead.bad_scores,
    )
    return total(seen, verifier), paid

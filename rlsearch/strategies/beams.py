"""Search against a judge, step by step, with many beams at once (Snell et al. 2024, section 5).

Every round each of a problem's N drafts gets one more step, and the judge scores it. Then, in each
of G groups of n = N / G drafts, the best n / M stay and M drafts go on from each. After the last
step all N are candidates.

    beam search                   G = 1
    diverse verifier tree search  G = N / M: one of M stays, and groups are never compared
    lookahead                     each draft is first rolled k steps further at temperature 0,
                                  scored there, and the roll-out is thrown away

Letters: B problems, N drafts of each, M drafts that go on from one, S steps.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rlsearch.decoding.sampling import GREEDY, Sampling
from rlsearch.decoding.writer import Writer, step_keys
from rlsearch.strategies.candidates import Candidates, candidates
from rlsearch.strategies.writing import Judged, Problems, append, begin


@dataclasses.dataclass(frozen=True)
class Beams:
    """The shape of a beam search."""

    num_drafts: int  # N, a multiple of `groups * expansions`
    expansions: int  # M
    groups: int  # G
    lookahead: int  # k
    sampling: Sampling  # of the steps that are kept


def search_beams(
    writer: Writer, judge: Any, prompts: jax.Array, keys: jax.Array, beams: Beams
) -> Candidates:
    """Writes the N finished drafts of each of `prompts [B, P]`; the keys `[B]` are consumed."""
    batch, num_drafts = prompts.shape[0], beams.num_drafts
    problems, first, read = begin(writer, judge, prompts)

    def each_draft(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, num_drafts, axis=0)

    problems, first = problems.repeated(num_drafts), jax.tree.map(each_draft, first)
    # Draft number i is written with the keys of sample number i, so that M = 1 is sampling.
    number = jnp.tile(jnp.arange(num_drafts), batch)
    draft_keys = jax.vmap(jax.random.fold_in)(each_draft(keys), number)
    turn_keys = step_keys(draft_keys, writer.format.num_steps)

    def turn(carry: tuple[Judged, jax.Array], keys: jax.Array):
        judged, usable = carry
        judged, _ = append(problems, judged, keys, beams.sampling)
        rank, judged = _rank(problems, judged, keys, beams.lookahead)
        rank = jnp.where(usable.reshape(-1), rank, -1.0)
        kept, copy = _keep(rank.reshape(batch, beams.groups, -1), beams.expansions)
        source = jnp.arange(batch)[:, None] * num_drafts + kept
        going_on = jax.tree.map(lambda x: x[source.reshape(-1)], judged)
        # What was spent stays where it was spent: it is summed over a problem in the end.
        going_on = going_on._replace(
            policy_tokens=judged.policy_tokens,
            verifier_tokens=judged.verifier_tokens,
            bad_scores=judged.bad_scores,
        )
        # A finished draft does not go on: of its copies only the first may be chosen.
        ended = going_on.line.finished(writer.format).reshape(batch, -1)
        usable = jnp.take_along_axis(usable, kept, axis=1) & ~(ended & (copy > 0))
        return (going_on, usable), None

    usable = jnp.ones((batch, num_drafts), bool)
    (judged, usable), _ = jax.lax.scan(turn, (first, usable), turn_keys[:-1])
    judged, _ = append(problems, judged, turn_keys[-1], beams.sampling)
    found = candidates(problems, judged, usable)
    return found._replace(verifier_tokens=found.verifier_tokens + read)


def _keep(rank: jax.Array, expansions: int) -> tuple[jax.Array, jax.Array]:
    """The draft that each place goes on from, `[B, N]`, and the number of its copy, for
    `rank [B, G, n]`.

    Those that stay keep their order, so that with M = 1 nothing moves.
    """
    batch, groups, size = rank.shape
    _, best = jax.lax.top_k(rank, size // expansions)
    best = jnp.sort(best, axis=-1) + (jnp.arange(groups) * size)[:, None]
    kept = jnp.repeat(best, expansions, axis=-1).reshape(batch, -1)
    copy = jnp.tile(jnp.arange(expansions), groups * size // expansions)
    return kept, jnp.broadcast_to(copy, kept.shape)


def _rank(
    problems: Problems, judged: Judged, keys: jax.Array, lookahead: int
) -> tuple[jax.Array, Judged]:
    """Ranks drafts `[B * N]`, and returns them with what that has cost.

    With lookahead the newest step's score is the one at the end of its roll-out.
    """
    ahead = judged
    for _ in range(lookahead):
        ahead, _ = append(problems, ahead, keys, GREEDY)
    newest = jnp.arange(judged.scores.shape[1]) == (judged.line.num_steps - 1)[:, None]
    last = jnp.maximum(ahead.line.num_steps - 1, 0)[:, None]
    end = jnp.take_along_axis(ahead.scores, last, axis=1)
    seen = judged._replace(scores=jnp.where(newest, end, judged.scores))
    paid = judged._replace(
        policy_tokens=ahead.policy_tokens,
        verifier_tokens=ahead.verifier_tokens,
        bad_scores=ahead.bad_scores,
    )
    return seen.total(problems.judge), paid

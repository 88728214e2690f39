"""The suite of revisions: a fixed budget spent in parallel, in sequence, and in between.

As in Snell et al. 2024, section 6: N attempts are N / s chains of s, swept from s = 1, plain
samples, to s = N, one chain. What a verifier chooses, inside each chain and then among chains,
stands beside the majority of all attempts. Beside that: how often each attempt of a chain is right,
and how many right ones are revised into wrong ones (38% in the paper) and the other way round.

For each s chains are drawn once, as many as the largest budget pays for; a smaller budget has the
first of them.

Letters: Q problems of all seeds, p chains, s attempts of a chain, T tokens.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.sampling import Sampling
from rlsearch.measuring.accuracy import Row
from rlsearch.measuring.examination import Contestant, Examination, examine
from rlsearch.measuring.measure import (
    MAX_DRAFTS,
    Measured,
    in_parts,
    under_seeds,
    warn_of_bad_scores,
)
from rlsearch.measuring.opened import OpenedRun
from rlsearch.measuring.rows import rows_of
from rlsearch.runs.directory import write_json
from rlsearch.strategies.chains import (
    Chains,
    best_of_chains,
    majority_of_chains,
    sample_chains,
)
from rlsearch.strategies.drawing import Drawing, drawing_of
from rlsearch.strategies.revisions import Revisions as RevisionsStrategy
from rlsearch.studies.base import Comparison, Report, silent
from rlsearch.studies.revisions_picture import draw
from rlsearch.verifiers.base import Judge


@dataclasses.dataclass(frozen=True)
class Revisions(Comparison):
    """Writes `evaluations/revisions.json` and `.png`."""

    sequential: tuple[int, ...] = ()  # s; empty: the powers of 2 up to each budget
    budgets: tuple[int, ...] = ()  # empty: those of the run's config
    seeds: tuple[int, ...] = ()  # empty: those of the run's config
    policy: str = ""  # that revises; empty: the first that has learnt to
    problems: int | None = None  # so many, see `examine`; None: as many as are held out
    verifier: str = "value_head"  # that chooses; see `OpenedRun.judge`
    aggregation: str = ""  # of its scores; empty: its own
    split: str = "held_out"  # see `examine`

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        policy = self.policy or self._revising(opened)
        examination, (contestant,) = examine(opened, (policy,), self.problems, self.split)
        judge = opened.judge(self.verifier, self.aggregation, (policy,))
        budgets = sorted(set(self.budgets or opened.defaults.budgets))
        seeds = self.seeds or opened.defaults.seeds
        lengths = sorted(set(self.sequential) or _powers_of_2(budgets[-1]))
        if lengths[-1] > budgets[-1]:
            raise ValueError(
                f"sequential is {lengths[-1]}: a budget of {budgets[-1]} does not pay for so many "
                "attempts"
            )
        (drawing,) = self.alike((RevisionsStrategy(),), opened.defaults.policy_weight)
        assert isinstance(drawing, RevisionsStrategy), "it is what it was made of"
        rows: list[Row] = []
        revised: list[Row] = []
        for length in lengths:
            shape = budgets[-1] // length, length
            drawn = draw_chains(contestant, examination, judge, shape, seeds, drawing.sampling)
            revised.append({"sequential": length, **what_revising_did(drawn.right)})
            name = f"revisions, {length} in a chain"
            for budget in [budget for budget in budgets if budget >= length]:
                first = first_chains(drawn, budget // length)
                for chooser in (judge, None):
                    measured = answered(first, drawing, chooser is not None, len(seeds))
                    rows += rows_of(name, contestant, chooser, examination, budget, seeds, measured)
                    same = rows[-len(seeds) :]
                    accuracy = float(np.mean([row["accuracy"] for row in same]))
                    report(
                        f"budget {budget:4}  {same[0]['settings']['parallel']:4} chains of "
                        f"{length:3}  {same[0]['verifier']:18} {100 * accuracy:5.1f}%"
                    )
        result = {"benchmark": "revisions", "rows": rows, "revised": revised}
        table, picture = (examination.folder / f"revisions{end}" for end in (".json", ".png"))
        write_json(table, result)
        draw(rows, revised, picture, examination.title)
        return {**result, "table": str(table), "picture": str(picture)}

    def _revising(self, opened: OpenedRun) -> str:
        found = opened.revising_policies()
        if not found:
            has = ", ".join(opened.complete_policies())
            raise ValueError(
                f"run is {opened.path!r}: none of its policies has learnt to revise; it has {has}: "
                "give --policies for one of them"
            )
        return found[0]


class Drawn(NamedTuple):
    """Chains of one length, and the truth about them."""

    chains: Chains  # of arrays on the host, [Q, p, s, ...]
    right: np.ndarray  # [Q, p, s] bool
    seconds: float  # of each seed on average, compilation left out


def _powers_of_2(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length())]


def draw_chains(
    contestant: Contestant,
    examination: Examination,
    judge: Judge,
    shape: tuple[int, int],
    seeds: Sequence[int],
    sampling: Sampling,
) -> Drawn:
    """Chains of every problem under every seed, in parts of equal size where they are many.

    Args:
        shape: how many chains, and of how many attempts.
        sampling: of all attempts.
    """
    task, (parallel, sequential) = examination.task, shape
    prompts, keys = under_seeds(examination.prompts, seeds)

    @jax.jit
    def solve(writer, judge: Judge, prompts: jax.Array, keys: jax.Array):
        chains = sample_chains(writer, judge, prompts, keys, parallel, sequential, sampling)
        attempts = jnp.moveaxis(
            chains.tokens.reshape(len(prompts), -1, chains.tokens.shape[-1]), 1, 0
        )
        right = jax.lax.map(lambda tokens: task.check_tokens(prompts, tokens), attempts)
        return chains, right.T.reshape(chains.scores.shape)

    parts = in_parts(len(prompts), MAX_DRAFTS // (parallel * sequential))
    first = prompts[parts[0]], keys[parts[0]]
    run = solve.lower(contestant.writer, judge, *first).compile()
    began = time.monotonic()
    each = [run(contestant.writer, judge, prompts[part], keys[part]) for part in parts]
    chains, right = jax.tree.map(lambda *x: np.concatenate(x)[: len(prompts)], *each)
    warn_of_bad_scores(judge, chains.bad_scores.sum(axis=(1, 2)))
    return Drawn(chains, right, (time.monotonic() - began) / len(seeds))


def first_chains(drawn: Drawn, number: int) -> Drawn:
    """The first so many chains of each problem, and their part of the time."""
    total = drawn.right.shape[1]
    chains, right = jax.tree.map(
        lambda x: x[:, :number] if x.ndim > 1 else x, (drawn.chains, drawn.right)
    )
    return Drawn(chains, right, drawn.seconds * number / total)


def answered(drawn: Drawn, drawing: Drawing, judged: bool, num_seeds: int) -> Measured:
    """The answers that are chosen from chains, under each seed: by their scores, weighed as
    `drawing` does, or where they are not `judged` by the majority, which reads nothing."""
    chains, (number, parallel, sequential) = drawn.chains, drawn.right.shape
    choose = best_of_chains if judged else majority_of_chains
    weights = drawing.confidence(jnp.asarray(chains.scores), jnp.asarray(chains.log_probs))
    chosen = np.asarray(jax.jit(choose)(chains.answers, weights))
    right = drawn.right.reshape(number, -1)[np.arange(number), chosen]
    read = chains.verifier_tokens.sum(axis=(1, 2)) + chains.shared_verifier_tokens

    def by_seed(x: Any) -> np.ndarray:
        return np.asarray(x).reshape(num_seeds, -1)

    return Measured(
        settings={
            "n": parallel * sequential,
            "parallel": parallel,
            "sequential": sequential,
            **drawing_of(drawing),
        },
        right=by_seed(right),
        generations=by_seed((chains.scores >= 0).sum(axis=(1, 2))),
        policy_tokens=by_seed(chains.policy_tokens.sum(axis=(1, 2))),
        verifier_tokens=by_seed(read if judged else np.zeros_like(read)),
        context_tokens=by_seed(chains.context_tokens.sum(axis=(1, 2))),
        contexts=by_seed(np.full(number, parallel * (sequential - 1))),
        seconds=drawn.seconds,
    )


def what_revising_did(right: np.ndarray) -> Row:
    """Counts what became of attempts `right [Q, p, s]` that another one follows.

    Returns:
        `by_attempt`, the share that is right of each attempt of a chain; `right_to_wrong`, the
        share of right attempts whose revision is wrong, and `wrong_to_right`. None: there are none.
    """
    before, after = right[:, :, :-1], right[:, :, 1:]

    def share(changed: np.ndarray, of: np.ndarray) -> float | None:
        return float((changed & of).sum() / of.sum()) if of.any() else None

    return {
        "by_attempt": right.mean(axis=(0, 1)).tolist(),
        "right_to_wrong": share(~after, before),
        "wrong_to_right": share(after, ~before),
    }

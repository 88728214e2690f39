"""The suite of test-time compute: every strategy, every budget, and the best of them by difficulty.

How accuracy grows with what is spent while answering, in the terms of Snell et al. 2024: problems
are binned by difficulty, the best strategy of each bin is chosen on one half of its problems and
measured on the other, and what that reaches is held against best-of-N. Every strategy is held
against best-of-N and the majority vote at equal tokens. Difficulty is the share of samples that are
right (oracle) or what the verifier thinks of them (predicted); what estimating it costs is not in
the budgets and stands in a column of its own. And what the policies have cost to train is put on
one axis with that (`total_compute`).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import A_STRATEGY
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.split import split_steps
from rlsearch.measuring.accuracy import Row, summarise, wilson_interval
from rlsearch.measuring.calibration import quality, step_quality
from rlsearch.measuring.compute_optimal import (
    budget_needed,
    compute_optimal,
    difficulty_bins,
    mean_by_bin,
)
from rlsearch.measuring.equal_tokens import at_equal_tokens, in_words
from rlsearch.measuring.examination import Contestant, Examination, examine
from rlsearch.measuring.measure import measure_each
from rlsearch.measuring.opened import OpenedRun
from rlsearch.measuring.pass_at_k import pass_at_k
from rlsearch.measuring.rows import rows_of
from rlsearch.measuring.total_compute import on_one_axis
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.strategies.base import Strategy, name_of
from rlsearch.strategies.beam_search import BeamSearch
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.bfs_v import BfsV
from rlsearch.strategies.candidates import Candidates, sample
from rlsearch.strategies.dfs_v import DfsV
from rlsearch.strategies.diverse_search import DiverseSearch
from rlsearch.strategies.drawing_tree import DrawingTree
from rlsearch.strategies.lookahead_search import LookaheadSearch
from rlsearch.strategies.mcts_alpha import MctsAlpha
from rlsearch.strategies.mcts_rollout import MctsRollout
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.strategies.weighted_best_of_n import WeightedBestOfN
from rlsearch.studies.base import Comparison, Report, in_common, silent
from rlsearch.studies.test_time_compute_picture import draw
from rlsearch.studies.total_compute_picture import draw as draw_total
from rlsearch.verifiers.base import Judge

STRATEGIES: tuple[Strategy, ...] = (
    SelfConsistency(),
    BestOfN(),
    WeightedBestOfN(),
    BeamSearch(),
    LookaheadSearch(),
    DiverseSearch(),
    TreeSearch(),
    DrawingTree(),
    MctsAlpha(),
    MctsRollout(),
    BfsV(),
    DfsV(),
)
BASELINE = "best_of_n"
DIFFICULTY_SAMPLES = 64  # of each problem, none of them any strategy's
DIFFICULTY_SEED = 1_000_003


@dataclasses.dataclass(frozen=True)
class TestTimeCompute(Comparison):
    """Writes `evaluations/test_time_compute.json`, `.png` and `_total.png`."""

    __test__ = False  # it is no test, whatever its name

    strategies: tuple[A_STRATEGY, ...] = ()  # that compete; empty: `STRATEGIES`
    budgets: tuple[int, ...] = ()  # empty: those of the run's config
    seeds: tuple[int, ...] = ()  # empty: those of the run's config
    policies: tuple[str, ...] = ()  # empty: all that are complete
    problems: int | None = None  # so many, see `examine`; None: as many as are held out
    verifier: str = "value_head"  # that judges for all strategies; see `OpenedRun.judge`
    aggregation: str = ""  # of its scores; empty: its own
    split: str = "held_out"  # see `examine`

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        examination, contestants = examine(opened, self.policies, self.problems, self.split)
        judge = opened.judge(self.verifier, self.aggregation, [x.name for x in contestants])
        budgets = sorted(self.budgets or opened.defaults.budgets)
        seeds = self.seeds or opened.defaults.seeds
        strategies = self.alike(self.strategies or STRATEGIES, opened.defaults.policy_weight)
        rows, right = [], {}
        spent = 0  # solutions a problem, of all strategies
        for strategy in strategies:
            name = name_of(strategy)
            for budget in budgets:
                for contestant, measured in measure_each(
                    strategy, contestants, judge, examination, budget, seeds
                ):
                    rows += rows_of(name, contestant, judge, examination, budget, seeds, measured)
                    right[contestant.name, name, budget] = measured.right.mean(axis=0)
                    accuracy = 100 * measured.right.mean()
                    spent += budget / len(contestants)
                    line = f"{contestant.name:10} {name:22} budget {budget:4}  {accuracy:5.1f}%"
                    report(line, spent / (len(strategies) * sum(budgets)))
        if not rows:
            raise none_can_spend(self.strategies, budgets)
        optimal, qualities = [], {}
        for contestant in contestants:
            difficulty = estimate_difficulty(contestant, judge, examination)
            qualities[contestant.name] = difficulty["verifier"]
            best = [
                row
                for kind in ("oracle", "predicted")
                for row in best_by_difficulty(contestant.name, kind, difficulty, right, budgets)
            ]
            optimal += best
            if best:
                report(
                    f"{contestant.name:10} {'compute-optimal':22} "
                    f"budget {best[-1]['budget']:4}  {100 * best[-1]['accuracy']:5.1f}%"
                )
        summary = summarise(rows)
        equal = at_equal_tokens(summary)
        for row in equal:
            report(in_words(row))
        result = {
            "benchmark": "test_time_compute",
            "split": opened.task_split,
            "drawing": in_common(strategies),
            "rows": rows,
            "equal_tokens": equal,
            "optimal": optimal,
            "verifier": {"label": judge.label, "policies": qualities},
            "budget_for_baseline": needed(summary, optimal),
            "total_compute": total_compute(opened, contestants, judge, summary),
        }
        ends = (".json", ".png", "_total.png")
        table, picture, total = (examination.folder / f"test_time_compute{end}" for end in ends)
        write_json(table, result)
        draw(summary, optimal, picture, examination.title)
        draw_total(result["total_compute"], total, examination.title)
        paths = {"table": str(table), "picture": str(picture), "total_picture": str(total)}
        return {**result, **paths}


def none_can_spend(strategies: Sequence[Strategy], budgets: Sequence[int]) -> ValueError:
    """The error that nothing was measured."""
    return ValueError(
        f"strategies are {', '.join(map(name_of, strategies))}: none can spend a budget of "
        f"{', '.join(map(str, budgets))}"
    )


def total_compute(
    opened: OpenedRun, contestants: Sequence[Contestant], judge: Judge, summary: Sequence[Row]
) -> list[Row]:
    """The rows of `on_one_axis`. A verifier is charged for where this run has trained it."""
    units = {contestant.name: contestant.unit for contestant in contestants}
    unit = units.get(opened.pretrained_policy(), contestants[0].unit)
    answers = opened.pretraining_tokens() / unit
    spent = opened.verifier_training_flops(judge.label)
    return on_one_axis(summary, opened.training_flops(), spent, answers)


def estimate_difficulty(
    contestant: Contestant, judge: Judge, examination: Examination
) -> dict[str, Any]:
    """Estimates how easy each problem is to a policy, `[Q]`: "oracle" and "predicted". Beside it
    the "tokens" that the samples took, and what they say of the "verifier"."""
    prompts, task = examination.prompts, examination.task
    keys = row_keys(jax.random.key(DIFFICULTY_SEED), len(prompts))

    @jax.jit
    def draw_samples(writer, judge):
        found = sample(writer, judge, prompts, keys, DIFFICULTY_SAMPLES, Sampling())
        each = jnp.swapaxes(found.tokens, 0, 1)
        right = jax.lax.map(lambda tokens: task.check_tokens(prompts, tokens), each)
        return found, right.T

    found, right = jax.tree.map(np.asarray, draw_samples(contestant.writer, judge))
    return {
        "oracle": pass_at_k(DIFFICULTY_SAMPLES, right.sum(axis=1), 1),
        "predicted": np.maximum(found.scores, 0.0).mean(axis=1),
        "tokens": float((found.policy_tokens + found.verifier_tokens).mean()),
        "verifier": verifier_quality(contestant, examination, found, right),
    }


def verifier_quality(
    contestant: Contestant, examination: Examination, found: Candidates, right: np.ndarray
) -> Row:
    """Measures how well a verifier judges samples, against the checker, and against exact labels of
    their steps where the task has them.

    Args:
        found: n samples of each problem.
        right: `[Q, n]` bool.
    """
    scores, format = np.asarray(found.scores), contestant.writer.format
    result: Row = {"solutions": quality(scores[scores >= 0], right[scores >= 0])}
    if hasattr(examination.task, "step_labels"):
        solutions = np.asarray(found.tokens).reshape(-1, found.tokens.shape[-1])
        prompts = np.repeat(np.asarray(examination.prompts), found.tokens.shape[1], axis=0)
        labels = examination.task.step_labels(prompts, solutions)
        steps = split_steps(jnp.asarray(solutions), format)
        written = np.asarray(steps[:, :, 0] != format.pad)
        shape = *found.step_scores.shape[:2], -1
        result["steps"] = step_quality(
            np.asarray(found.step_scores), labels.reshape(shape), written.reshape(shape)
        )
    return result


def best_by_difficulty(
    policy_name: str,
    kind: str,
    difficulty: dict[str, Any],
    right: dict[tuple[str, str, int], np.ndarray],
    budgets: Sequence[int],
) -> list[Row]:
    """One row a budget: what the best strategy of each bin reaches on problems held out of the
    choice, and beside it the baseline in each bin."""
    bins, rows = difficulty_bins(difficulty[kind]), []
    for budget in budgets:
        names = [key[1] for key in right if (key[0], key[2]) == (policy_name, budget)]
        if not names:
            continue
        found = compute_optimal(
            np.array([right[policy_name, name, budget] for name in names]), bins
        )
        accuracy, problems = float(found.accuracy.mean()), len(bins)
        baseline = right.get((policy_name, BASELINE, budget))
        rows.append(
            {
                "policy": policy_name,
                "difficulty": kind,
                "budget": budget,
                "accuracy": accuracy,
                "ci95": list(wilson_interval(accuracy * problems, problems)),
                "problems": problems,
                "difficulty_tokens": difficulty["tokens"],
                "chosen": [[names[one], names[other]] for one, other in found.chosen],
                "by_bin": mean_by_bin(found.accuracy, bins),
                "baseline_by_bin": None if baseline is None else mean_by_bin(baseline, bins),
            }
        )
    return rows


def needed(summary: Sequence[Row], optimal: Sequence[Row]) -> list[Row]:
    """For each policy: with what budget the others reach what best-of-N does with the largest.

    "ci95" has the same for both ends of that accuracy's interval.
    """
    result = []
    baseline = [row for row in summary if row["strategy"] == BASELINE]
    for policy_name in dict.fromkeys(row["policy"] for row in baseline):
        most = max((r for r in baseline if r["policy"] == policy_name), key=lambda r: r["budget"])
        curves = {
            f"compute-optimal, {kind} difficulty": {
                row["budget"]: row["accuracy"]
                for row in optimal
                if (row["policy"], row["difficulty"]) == (policy_name, kind)
            }
            for kind in ("oracle", "predicted")
        }
        for row in summary:
            if row["policy"] == policy_name and row["strategy"] != BASELINE:
                curves.setdefault(row["strategy"], {})[row["budget"]] = row["accuracy"]
        result.append(
            {
                "policy": policy_name,
                "accuracy": most["accuracy"],
                "best_of_n": most["budget"],
                **{name: budget_needed(curve, most["accuracy"]) for name, curve in curves.items()},
                "ci95": {
                    name: [budget_needed(curve, end) for end in most["ci95"]]
                    for name, curve in curves.items()
                },
            }
        )
    return result

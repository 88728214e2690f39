"""Pre-training against inference: a small model that thinks longer, or a larger one (Snell et al.
2024, section 7).

Two generators of different size have learnt from the same data. For what the larger one costs more
in training and in every answer, the small one may spend m + (3 / R) (m - 1) times its inference; R
is how many tokens are ever answered for each that was learnt from. At that multiple the accuracy of
the small one is read off its curve, and set against the greedy answers of the larger one. A curve
says nothing beyond its end: where it ends before the multiple, what it has reached is all that is
claimed.

Letters: Q problems.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rlsearch.config import A_STRATEGY
from rlsearch.measuring.accuracy import Row, wilson_interval
from rlsearch.measuring.compute_optimal import NUM_BINS, difficulty_bins, inference_multiplier
from rlsearch.measuring.costs import answer_flops, verifier_flops
from rlsearch.measuring.examination import Contestant, Examination, examine
from rlsearch.measuring.measure import Measured, measure
from rlsearch.measuring.opened import OpenedRun, open_run
from rlsearch.measuring.rows import rows_of
from rlsearch.measuring.total_compute import RATIOS
from rlsearch.runs.directory import write_json
from rlsearch.strategies.base import Strategy, name_of
from rlsearch.strategies.beam_search import BeamSearch
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.studies.base import Comparison, Report, in_common, silent
from rlsearch.studies.exchange_picture import draw
from rlsearch.studies.test_time_compute import estimate_difficulty, none_can_spend
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.constant import Constant

STRATEGIES: tuple[Strategy, ...] = (BestOfN(), BeamSearch())


@dataclasses.dataclass(frozen=True)
class Exchange(Comparison):
    """Writes `evaluations/exchange.json` and `.png` of the small model's run.

    It is about the policies that pre-training ended with: what comes after is no part of it.
    """

    against: str  # the run of the larger model
    strategies: tuple[A_STRATEGY, ...] = ()  # of the small one; empty: `STRATEGIES`
    budgets: tuple[int, ...] = ()  # empty: those of the small model's run
    seeds: tuple[int, ...] = ()  # empty: those of the small model's run
    problems: int | None = None  # so many, see `examine`; None: as many as are held out
    verifier: str = "value_head"  # that judges for the small one; see `OpenedRun.judge`
    aggregation: str = ""  # of its scores; empty: its own
    split: str = "held_out"  # see `examine`

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        other = open_run(self.against, opened.data_dir, opened.code)
        other.check_same_pretraining(opened)
        examination, small = self._examine(opened)
        its_examination, large = self._examine(other)
        ratio = parameter_ratio(small, large, self.against)
        judge = opened.judge(self.verifier, self.aggregation, (small.name,))
        seeds = self.seeds or opened.defaults.seeds
        budgets = sorted(self.budgets or opened.defaults.budgets)
        greedy = measure(Greedy(), large, Constant(), its_examination, 1, seeds[:1])
        assert greedy is not None, "greedy decoding spends one solution"
        answers = greedy.right.mean(axis=0)
        groups = by_difficulty(small, judge, examination)
        rows, curves, exchange = [], [], []
        strategies = self.alike(self.strategies or STRATEGIES, opened.defaults.policy_weight)
        for strategy in strategies:
            name, found = name_of(strategy), {}
            for budget in budgets:
                measured = measure(strategy, small, judge, examination, budget, seeds)
                if measured is not None:
                    found[budget] = measured
                    rows += rows_of(name, small, judge, examination, budget, seeds, measured)
            for group, curve in curves_of(small, judge, examination, groups, found).items():
                curves.append({"strategy": name, "group": group, "points": curve})
                for value in RATIOS:
                    inside = groups[group]
                    at = {
                        "strategy": name,
                        "group": group,
                        "problems": int(inside.sum()),
                        **compare(curve, ratio, value, shares(answers[inside])),
                    }
                    exchange.append(at)
                    if group == "all":
                        report(sentence(at))
        if not curves:
            raise none_can_spend(self.strategies, budgets)
        accuracy, problems = float(answers.mean()), len(answers)
        result = {
            "benchmark": "exchange",
            "split": opened.task_split,
            "drawing": in_common(strategies),
            "parameter_ratio": ratio,
            "small": describe(opened, small),
            "large": {
                **describe(other, large),
                "accuracy": accuracy,
                "ci95": list(wilson_interval(accuracy * problems, problems)),
            },
            "verifier": judge.label,
            "rows": rows,
            "curves": curves,
            "exchange": exchange,
        }
        table, picture = (examination.folder / f"exchange{end}" for end in (".json", ".png"))
        write_json(table, result)
        draw(result, picture, examination.title)
        return {**result, "table": str(table), "picture": str(picture)}

    def _examine(self, run: OpenedRun) -> tuple[Examination, Contestant]:
        examination, (contestant,) = examine(
            run, (run.pretrained_policy(),), self.problems, self.split
        )
        return examination, contestant


def parameter_ratio(small: Contestant, large: Contestant, against: str) -> float:
    """m, how many times the parameters `large` has.

    Raises:
        ValueError: if it is no larger.
    """
    ours, theirs = (of.writer.policy.model.num_params() for of in (small, large))
    if theirs <= ours:
        raise ValueError(
            f"against is {against!r}: it has {theirs} parameters, and must have more than the "
            f"{ours} of the other"
        )
    return theirs / ours


def describe(run: OpenedRun, contestant: Contestant) -> Row:
    """One of the two models."""
    return {
        "run": run.path,
        "parameters": contestant.writer.policy.model.num_params(),
        "pretraining_tokens": run.pretraining_tokens(),
        "solution_tokens": contestant.unit,
    }


def by_difficulty(
    small: Contestant, judge: Judge, examination: Examination
) -> dict[str, np.ndarray]:
    """The groups of problems, `[Q]` bool: all, and those in each bin that is not empty."""
    bins = difficulty_bins(estimate_difficulty(small, judge, examination)["oracle"])
    groups = {"all": np.ones(len(bins), bool)}
    groups |= {f"bin {number + 1}": bins == number for number in range(NUM_BINS)}
    return {name: inside for name, inside in groups.items() if inside.any()}


def curves_of(
    small: Contestant,
    judge: Judge,
    examination: Examination,
    groups: Mapping[str, np.ndarray],
    found: Mapping[int, Measured],
) -> dict[str, list[tuple[float, float]]]:
    """Lists for each group the accuracy over the FLOPs of an answer, in samples of the policy,
    ascending; nothing where nothing was `found`, which is by budget."""
    if not found:
        return {}
    policy, task = small.writer.policy, examination.task
    one = answer_flops(policy, task, small.unit)
    curves = {group: [] for group in groups}
    for measured in found.values():
        # Both are affine in their tokens, so that arrays [seeds, Q] go through.
        spent: Any = answer_flops(policy, task, measured.policy_tokens)  # pyright: ignore
        spent = spent + verifier_flops(judge, policy, task, measured.verifier_tokens)  # pyright: ignore
        for group, inside in groups.items():
            accuracy = float(measured.right[:, inside].mean())
            curves[group].append((float(spent[:, inside].mean()) / one, accuracy))
    return {group: sorted(points) for group, points in curves.items()}


def interpolate(curve: Sequence[tuple[float, float]], place: float) -> float | None:
    """The accuracy at `place` on a `curve` of ascending places, between two by their logarithms.

    None where the curve does not reach so far down or up.
    """
    places = [point[0] for point in curve]
    if not places[0] * (1 - 1e-9) <= place <= places[-1] * (1 + 1e-9):
        return None
    logarithms = [math.log(point) for point in places]
    return float(np.interp(math.log(place), logarithms, [point[1] for point in curve]))


class Share(NamedTuple):
    """An accuracy, and of how many problems."""

    accuracy: float
    problems: int

    @property
    def interval(self) -> tuple[float, float]:
        """See `wilson_interval`."""
        return wilson_interval(self.accuracy * self.problems, self.problems)


def shares(right: np.ndarray) -> Share:
    """The share of answers `[Q]` that are right."""
    return Share(float(right.mean()), len(right))


def compare(
    curve: Sequence[tuple[float, float]], parameter_ratio: float, ratio: float, large: Share
) -> Row:
    """The small model against the larger one at equal FLOPs in all.

    "small" is the accuracy at the multiple, None where the curve does not cover it. "at_least" is
    the accuracy there or, where the curve ends before, at its end. One is "better" where their
    intervals are apart; else it is "undecided", or "unknown" of a curve that ends before.
    """
    multiplier = inference_multiplier(parameter_ratio, ratio)
    small = interpolate(curve, multiplier)
    paid = [accuracy for place, accuracy in curve if place <= multiplier]
    at_least = small if small is not None else (paid[-1] if paid else None)
    interval = None if at_least is None else Share(at_least, large.problems).interval
    if interval is not None and interval[0] > large.interval[1]:
        better = "small"
    elif small is None or interval is None:
        better = "unknown"
    else:
        better = "large" if interval[1] < large.interval[0] else "undecided"
    return {
        "ratio": ratio,
        "multiplier": multiplier,
        "small": small,
        "at_least": at_least,
        "ci95": None if interval is None else list(interval),
        "curve_ends_at": curve[-1][0],
        "large": large.accuracy,
        "better": better,
    }


def sentence(row: Row) -> str:
    """One line for the terminal."""
    start = f"{row['strategy']:20} R {row['ratio']:5.2f}  x{row['multiplier']:7.1f}"
    if row["small"] is None:
        said = f"the curve ends at x{row['curve_ends_at']:.1f}"
    else:
        said = f"small {100 * row['small']:5.1f}%"
    return f"{start}  {said}, large {100 * row['large']:5.1f}%: {row['better']}"

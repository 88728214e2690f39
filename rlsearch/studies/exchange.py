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

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlsearch.measuring.accuracy import (
    Measured,
    answer_flops,
    measure,
    rows_of,
    verifier_flops,
    wilson_interval,
)
from rlsearch.measuring.compute_optimal import NUM_BINS, difficulty_bins, inference_multiplier
from rlsearch.measuring.evaluate import Subjects, judge_of, subjects
from rlsearch.measuring.total_compute import RATIOS, pretraining_tokens
from rlsearch.runs.directory import write_json
from rlsearch.strategies.base import load_strategy
from rlsearch.studies.exchange_picture import draw
from rlsearch.studies.test_time_compute import estimate_difficulty
from rlsearch.training.setup import same_task
from rlsearch.verifiers.base import Verifier
from rlsearch.verifiers.constant import Constant

STRATEGIES = ("best_of_n", "beam_search")
POLICY = "base"  # what comes after pre-training is no part of this

Row = dict[str, Any]


def run_exchange(
    run_dir: str,
    against: str,
    strategies: Sequence[str] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    num_problems: int | None = None,
    verifier: str = "value_head",
    aggregation: str = "",
    data_dir: str = "",
    code: str = "",
    split: str = "held_out",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/exchange.json` and `.png` of the small model's run, and returns their
    content and paths.

    Args:
        run_dir, against: the runs of the small and of the larger model.
        strategies: of the small one; empty for best-of-N and beam search.
        budgets, seeds: empty for those of the small model's run.
        num_problems, data_dir, code, split: see `subjects`.
        verifier, aggregation: judge for the small one; see `open_verifier`.
        report: is told one line for each strategy and R.

    Raises:
        ValueError: if the two have not learnt from the same data, or `against` is not larger.
    """
    small = subjects(run_dir, (POLICY,), num_problems, data_dir, code, split)
    large = subjects(against, (POLICY,), num_problems, data_dir, code, split)
    ratio = parameter_ratio(small, large, against)
    judge = judge_of(small, verifier, aggregation, code)
    seeds = tuple(seeds or small.config.evaluation.seeds)
    budgets = sorted(budgets or small.config.evaluation.budgets)
    greedy = measured(large, "greedy", Constant(), budget=1, seeds=seeds[:1])
    assert greedy is not None
    answered = greedy.right.mean(axis=0)
    bins = difficulty_bins(estimate_difficulty(small, POLICY, judge)["oracle"])
    groups = {"all": np.ones(len(bins), bool)}
    groups |= {f"bin {number + 1}": bins == number for number in range(NUM_BINS)}
    groups = {name: inside for name, inside in groups.items() if inside.any()}
    one = answer_flops(small.policy, small.task, small.units[POLICY])
    rows, curves, exchange = [], [], []
    for name in strategies or STRATEGIES:
        points = {group: [] for group in groups}
        for budget in budgets:
            found = measured(small, name, judge, budget, seeds)
            if found is None:
                continue
            made = rows_of(name, POLICY, found, judge, small.policy, small.task, budget, seeds)
            step = small.checkpoint_steps[POLICY]
            rows += [{"checkpoint_step": step, **row} for row in made]
            spent = spent_flops(small, judge, found)
            for group, inside in groups.items():
                accuracy = float(found.right[:, inside].mean())
                points[group].append((float(spent[:, inside].mean()) / one, accuracy))
        for group, inside in groups.items():
            if not points[group]:
                continue
            curve = sorted(points[group])
            curves.append({"strategy": name, "group": group, "points": curve})
            for value in RATIOS:
                at = {
                    "strategy": name,
                    "group": group,
                    "problems": int(inside.sum()),
                    **compare(curve, ratio, value, float(answered[inside].mean())),
                }
                exchange.append(at)
                if group == "all":
                    report(sentence(at))
    if not curves:
        raise ValueError(
            f"strategies are {', '.join(strategies)}: none can spend a budget of "
            f"{', '.join(map(str, budgets))}"
        )
    accuracy, problems = float(answered.mean()), len(answered)
    result = {
        "benchmark": "exchange",
        "split": small.config.task.split,
        "parameter_ratio": ratio,
        "small": describe(small, run_dir),
        "large": {
            **describe(large, against),
            "accuracy": accuracy,
            "ci95": list(wilson_interval(accuracy * problems, problems)),
        },
        "verifier": judge.label,
        "rows": rows,
        "curves": curves,
        "exchange": exchange,
    }
    table, picture = (small.folder / f"exchange{end}" for end in (".json", ".png"))
    write_json(table, result)
    draw(result, picture, small.title)
    return {**result, "table": str(table), "picture": str(picture)}


def parameter_ratio(small: Subjects, large: Subjects, against: str) -> float:
    """m, how many times the parameters `large` has.

    Raises:
        ValueError: if they have not learnt from the same data, or it is no larger.
    """
    said = f"against is {against!r}"
    if not same_task(small.config.task, large.config.task):
        raise ValueError(f"{said}: it must be a run of the same task, {small.config.task}")
    for field in ("num_steps", "batch_size", "contrast"):
        ours, theirs = (getattr(of.config.pretrain, field) for of in (small, large))
        if ours != theirs:
            raise ValueError(
                f"{said}: its pretrain.{field} is {theirs} and that of the small model {ours}: "
                "they must have learnt from the same data"
            )
    ours, theirs = (of.setup.model.num_params() for of in (small, large))
    if theirs <= ours:
        raise ValueError(
            f"{said}: it has {theirs} parameters, and must have more than the {ours} of the other"
        )
    return theirs / ours


def describe(of: Subjects, run_dir: str) -> Row:
    """What the models are."""
    return {
        "run": run_dir,
        "parameters": of.setup.model.num_params(),
        "pretraining_tokens": pretraining_tokens(of.config, of.task),
        "solution_tokens": of.units[POLICY],
    }


def measured(
    of: Subjects, name: str, judge: Verifier, budget: int, seeds: Sequence[int]
) -> Measured | None:
    """What a strategy makes of all problems, where it can spend the budget."""
    strategy = load_strategy(name)
    about = (of.policy, of.params_of, of.units, of.task, of.prompts)
    return measure(strategy, judge, *about, budget, seeds).get(POLICY)


def spent_flops(of: Subjects, judge: Verifier, found: Measured) -> np.ndarray:
    """`[seeds, Q]` FLOPs of each answer, the verifier's included."""
    # Both are affine in their tokens, so that arrays go through.
    policy = answer_flops(of.policy, of.task, found.policy_tokens)  # pyright: ignore
    return policy + verifier_flops(judge, of.policy, of.task, found.verifier_tokens)  # pyright: ignore


def interpolate(curve: Sequence[tuple[float, float]], place: float) -> float | None:
    """The accuracy at `place` on a `curve` of ascending places, between two by their logarithms.

    None where the curve does not reach so far down or up.
    """
    places = [point[0] for point in curve]
    if not places[0] * (1 - 1e-9) <= place <= places[-1] * (1 + 1e-9):
        return None
    logarithms = [math.log(point) for point in places]
    return float(np.interp(math.log(place), logarithms, [point[1] for point in curve]))


def compare(
    curve: Sequence[tuple[float, float]], parameter_ratio: float, ratio: float, large: float
) -> Row:
    """The small model against the larger one at equal FLOPs in all.

    "small" is the accuracy at the multiple, None where the curve does not cover it. "at_least" is
    what it is known to reach for no more than that: the best of the curve up to there.
    """
    multiplier = inference_multiplier(parameter_ratio, ratio)
    small = interpolate(curve, multiplier)
    paid = [accuracy for place, accuracy in curve if place <= multiplier]
    if small is not None:
        paid.append(small)
    at_least = max(paid) if paid else None
    if at_least is not None and at_least > large:
        better = "small"
    elif small is None:
        better = "unknown"
    else:
        better = "equal" if at_least == large else "large"
    return {
        "ratio": ratio,
        "multiplier": multiplier,
        "small": small,
        "at_least": at_least,
        "curve_ends_at": curve[-1][0],
        "large": large,
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

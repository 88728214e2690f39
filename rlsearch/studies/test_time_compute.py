"""The suite of test-time compute: every strategy, every budget, and the best of them by difficulty.

How accuracy grows with what is spent while answering, in the terms of Snell et al. 2024: problems
are binned by difficulty, the best strategy of each bin is chosen on one half of its problems and
measured on the other, and what that reaches is held against best-of-N. Every strategy is held
against best-of-N and the majority vote at equal tokens. Difficulty is the share of samples that are
right (oracle) or what the verifier thinks of them (predicted); what estimating it costs is not in
the budgets and stands in a column of its own. And what the policies have cost to train is put on
one axis with that (`total_compute`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.steps import split_steps
from rlsearch.measuring.accuracy import measure, rows_of, summarise, wilson_interval
from rlsearch.measuring.calibration import quality
from rlsearch.measuring.compute_optimal import (
    budget_needed,
    compute_optimal,
    difficulty_bins,
    mean_by_bin,
)
from rlsearch.measuring.equal_tokens import at_equal_tokens, in_words
from rlsearch.measuring.evaluate import Subjects, judge_of, load_strategies, subjects
from rlsearch.measuring.pass_at_k import pass_at_k
from rlsearch.measuring.total_compute import on_one_axis, pretraining_tokens, training_flops
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.strategies.candidates import Candidates, sample
from rlsearch.studies.test_time_compute_picture import draw
from rlsearch.studies.total_compute_picture import draw as draw_total
from rlsearch.training.setup import policy_stages, trained_verifiers
from rlsearch.verifiers.base import Verifier

STRATEGIES = (
    "self_consistency",
    "best_of_n",
    "weighted_best_of_n",
    "beam_search",
    "lookahead_search",
    "diverse_search",
    "tree_search",
    "mcts_alpha",
    "mcts_rollout",
    "bfs_v",
    "dfs_v",
)
BASELINE = "best_of_n"
DIFFICULTY_SAMPLES = 64  # of each problem, none of them any strategy's
DIFFICULTY_SEED = 1_000_003

Row = dict[str, Any]


def run_suite(
    run_dir: str,
    strategies: Sequence[str] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    names: Sequence[str] = (),
    num_problems: int | None = None,
    verifier: str = "value_head",
    aggregation: str = "",
    data_dir: str = "",
    code: str = "",
    split: str = "held_out",
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes `evaluations/test_time_compute.json`, `.png` and `_total.png`, and returns their
    content and paths.

    Args:
        strategies: which compete; empty for all that are there.
        budgets, seeds: empty for those of the run's config.
        names, num_problems, data_dir, code, split: see `subjects`.
        verifier, aggregation: judge for all strategies; see `open_verifier`.
        report: is told one line after each result.
    """
    of = subjects(run_dir, names, num_problems, data_dir, code, split)
    judge = judge_of(of, verifier, aggregation, code)
    budgets = sorted(budgets or of.config.evaluation.budgets)
    seeds = seeds or of.config.evaluation.seeds
    rows, right = [], {}
    loaded = load_strategies(strategies or STRATEGIES, of.config.evaluation.sequential)
    for name, strategy in loaded.items():
        for budget in budgets:
            common = (of.policy, of.params_of, of.units, of.task, of.prompts, budget, seeds)
            found = measure(strategy, judge, *common)
            for policy_name, measured in found.items():
                made = rows_of(
                    name, policy_name, measured, judge, of.policy, of.task, budget, seeds
                )
                step = of.checkpoint_steps[policy_name]
                rows += [{"checkpoint_step": step, **row} for row in made]
                right[policy_name, name, budget] = measured.right.mean(axis=0)
                accuracy = 100 * measured.right.mean()
                report(f"{policy_name:10} {name:22} budget {budget:4}  {accuracy:5.1f}%")
    if not rows:
        raise ValueError(
            f"strategies are {', '.join(strategies)}: none can spend a budget of "
            f"{', '.join(map(str, budgets))}"
        )
    optimal, qualities = [], {}
    for policy_name in of.params_of:
        difficulty = estimate_difficulty(of, policy_name, judge)
        qualities[policy_name] = difficulty["verifier"]
        for kind in ("oracle", "predicted"):
            optimal += best_by_difficulty(policy_name, kind, difficulty, right, budgets)
        best = [row for row in optimal if row["policy"] == policy_name]
        if not best:
            continue
        largest = best[-1]
        report(
            f"{policy_name:10} {'compute-optimal':22} budget {largest['budget']:4}  "
            f"{100 * largest['accuracy']:5.1f}%"
        )
    summary = summarise(rows)
    equal = at_equal_tokens(summary)
    for row in equal:
        report(in_words(row))
    result = {
        "benchmark": "test_time_compute",
        "split": of.config.task.split,
        "rows": rows,
        "equal_tokens": equal,
        "optimal": optimal,
        "verifier": {"label": judge.label, "policies": qualities},
        "budget_for_baseline": needed(summary, optimal),
        "total_compute": total_compute(of, judge, summary),
    }
    ends = (".json", ".png", "_total.png")
    table, picture, total = (of.folder / f"test_time_compute{end}" for end in ends)
    write_json(table, result)
    draw(summary, optimal, picture, of.title)
    draw_total(result["total_compute"], total, of.title)
    paths = {"table": str(table), "picture": str(picture), "total_picture": str(total)}
    return {**result, **paths}


def total_compute(of: Subjects, judge: Verifier, summary: Sequence[Row]) -> list[Row]:
    """The rows of `on_one_axis`. A verifier is charged for where this run has trained it."""
    trained = training_flops(policy_stages(of.config, of.setup))
    verifiers = {
        stage.name: stage.num_steps * stage.flops_per_step.total
        for stage in trained_verifiers(of.config, of.setup)
    }
    unit = next(iter(of.units.values()))
    answers = pretraining_tokens(of.config, of.task) / of.units.get("base", unit)
    return on_one_axis(summary, trained, verifiers.get(judge.label, 0.0), answers)


def estimate_difficulty(of: Subjects, name: str, verifier: Verifier) -> dict[str, Any]:
    """How easy each problem is to a policy, `[Q]`: "oracle" and "predicted". Beside it the "tokens"
    that the samples took, and what they say of the "verifier"."""
    keys = row_keys(jax.random.key(DIFFICULTY_SEED), len(of.prompts))

    @jax.jit
    def draw_samples(params, verifier):
        found = sample(of.policy, params, verifier, of.prompts, keys, DIFFICULTY_SAMPLES, 1.0)
        each = jnp.swapaxes(found.tokens, 0, 1)
        right = jax.lax.map(lambda tokens: of.task.check_tokens(of.prompts, tokens), each)
        return found, right.T

    found, right = jax.tree.map(np.asarray, draw_samples(of.params_of[name], verifier))
    return {
        "oracle": pass_at_k(DIFFICULTY_SAMPLES, right.sum(axis=1), 1),
        "predicted": np.maximum(found.scores, 0.0).mean(axis=1),
        "tokens": float((found.policy_tokens + found.verifier_tokens).mean()),
        "verifier": verifier_quality(of, found, right),
    }


def verifier_quality(of: Subjects, found: Candidates, right: np.ndarray) -> Row:
    """How well a verifier judges samples, against the checker, and against exact labels of their
    steps where the task has them.

    Args:
        found: n samples of each problem.
        right: `[Q, n]` bool.
    """
    scores = np.asarray(found.scores)
    result: Row = {"solutions": quality(scores[scores >= 0], right[scores >= 0])}
    if hasattr(of.task, "step_labels"):
        solutions = np.asarray(found.tokens).reshape(-1, found.tokens.shape[-1])
        prompts = np.repeat(np.asarray(of.prompts), found.tokens.shape[1], axis=0)
        labels = of.task.step_labels(prompts, solutions)
        steps = split_steps(jnp.asarray(solutions), of.policy.form)
        written = np.asarray(steps[:, :, 0] != of.policy.form.pad)
        scores = np.asarray(found.step_scores).reshape(written.shape)
        result["steps"] = quality(scores[written], labels[written])
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
    """For each policy: with what budget the others reach what best-of-N does with the largest."""
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
            }
        )
    return result

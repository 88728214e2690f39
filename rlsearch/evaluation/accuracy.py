"""Accuracy of strategies on held-out problems, against what they spend.

The policy, the strategy and the critic see tokens alone. The checker is asked once, about the one
answer of each problem, after the search is over.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rlsearch.decoding.steps import sample_solutions
from rlsearch.inference.base import Budget, Policy, Strategy
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.language_model import Params
from rlsearch.parallel.mesh import row_keys
from rlsearch.tasks.base import Task

Row = dict[str, Any]


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    z, share = 1.959964, successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mean_solution_tokens(policy: Policy, params: Params, prompts: jax.Array) -> float:
    """Mean policy tokens of one sampled solution: the unit of every budget."""
    sample = jax.jit(
        lambda params, keys: sample_solutions(policy.model, params, prompts, keys, policy.form)[
            0
        ].length.mean()
    )
    return float(sample(params, row_keys(jax.random.key(0), prompts.shape[0])))


def evaluate_strategy(
    name: str,
    strategy: Strategy,
    policy: Policy,
    params: Params,
    task: Task,
    prompts: jax.Array,
    budget: Budget,
    seeds: Sequence[int],
) -> list[Row]:
    """One row a seed, as the run directory's `evaluations/NAME.json` holds them.

    `ci95` is the Wilson interval over the problems: seeds share the problems, so that the interval
    of a mean over seeds is no narrower.
    """
    settings = strategy.settings(policy, budget)
    if settings is None:
        return []
    solve = jax.jit(lambda params, keys: strategy.solve(policy, params, prompts, keys, budget))
    compiled = solve.lower(params, row_keys(jax.random.key(0), len(prompts))).compile()
    rows = []
    for seed in seeds:
        keys = row_keys(jax.random.key(seed), len(prompts))
        began = time.monotonic()
        solutions = jax.block_until_ready(compiled(params, keys))
        seconds = time.monotonic() - began
        right = np.asarray(task.check_tokens(prompts, solutions.tokens))
        tokens = float(np.mean(solutions.policy_tokens))
        context = task.prompt_length + policy.form.max_length / 2
        prompt_flops = task.prompt_length * flops_per_token(
            policy.model, task.prompt_length, policy=False
        )
        rows.append(
            {
                "strategy": name,
                "settings": settings,
                "verifier": "value head",
                "oracle": getattr(strategy, "judge", None) is not None,
                "budget": budget.solutions,
                "seed": seed,
                "accuracy": float(right.mean()),
                "ci95": list(wilson_interval(int(right.sum()), len(right))),
                "problems": len(right),
                "generations": float(np.mean(solutions.generations)),
                "policy_tokens": tokens,
                "verifier_tokens": float(np.mean(solutions.verifier_tokens)),
                "flops": prompt_flops + tokens * flops_per_token(policy.model, context),
                "seconds": seconds,
            }
        )
    return rows


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Means over seeds: one row for each policy, strategy, oracle and budget."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        key = (row["policy"], row["strategy"], row["oracle"], row["budget"])
        groups.setdefault(key, []).append(row)
    result = []
    for (policy, strategy, oracle, budget), group in groups.items():
        accuracies = [row["accuracy"] for row in group]
        problems = group[0]["problems"]
        mean = float(np.mean(accuracies))
        result.append(
            {
                "policy": policy,
                "strategy": strategy,
                "oracle": oracle,
                "budget": budget,
                "seeds": len(group),
                "accuracy": mean,
                "ci95": list(wilson_interval(mean * problems, problems)),
                "problems": problems,
                "policy_tokens": float(np.mean([row["policy_tokens"] for row in group])),
                "flops": float(np.mean([row["flops"] for row in group])),
            }
        )
    return result

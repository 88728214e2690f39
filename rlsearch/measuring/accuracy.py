"""Rows of accuracy: read from a run's tables, with their intervals, and averaged over seeds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    z, share = 1.959964, successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not leave the share itself outside, where it is 0 or 1.
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Means over seeds: one row for each policy, strategy, verifier and budget."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        key = (row["policy"], row["strategy"], row["verifier"], row["oracle"], row["budget"])
        groups.setdefault(key, []).append(row)
    result = []
    for (policy, strategy, verifier, oracle, budget), group in groups.items():
        accuracies = [row["accuracy"] for row in group]
        problems = group[0]["problems"]
        mean = float(np.mean(accuracies))
        result.append(
            {
                "policy": policy,
                "strategy": strategy,
                "verifier": verifier,
                "oracle": oracle,
                "budget": budget,
                "seeds": len(group),
                "accuracy": mean,
                "ci95": list(wilson_interval(mean * problems, problems)),
                "problems": problems,
                **{
                    cost: float(np.mean([row[cost] for row in group]))
                    for cost in ("policy_tokens", "verifier_tokens")
                },
                "flops": float(np.mean([row["flops"] for row in group])),
            }
        )
    return result

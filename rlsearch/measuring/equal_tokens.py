"""The accuracy that strategies reach for the same tokens.

A budget is of the policy's tokens. A strategy leaves some of it where it can only spend whole
rounds, and a verifier with a network of its own reads on top of it: to hold one strategy against
another, all that both have spent counts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

BASELINES = ("best_of_n", "self_consistency")
# Two strategies that spend one budget to the end write texts of other lengths: past the end of a
# baseline's curve by so much is still at its end.
SLACK = 0.02

Row = dict[str, Any]


def tokens_of(row: Row) -> float:
    """Adds up the tokens that a result took, the policy's and the verifier's."""
    return row["policy_tokens"] + row["verifier_tokens"]


def at_equal_tokens(summary: Sequence[Row]) -> list[Row]:
    """Sets the accuracy of each strategy beside that of baselines with as many tokens.

    Between two budgets of a baseline its accuracy is taken to be straight in the logarithm of the
    tokens. None where it was not measured with as few or as many.

    Args:
        summary: rows of `accuracy.summarise`, of one verifier.
    """
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in summary:
        if row["strategy"] in BASELINES:
            curve = curves.setdefault((row["policy"], row["strategy"]), [])
            curve.append((tokens_of(row), row["accuracy"]))
    return [
        {
            **{name: row[name] for name in ("policy", "strategy", "budget", "accuracy", "ci95")},
            "tokens": tokens_of(row),
            **{
                baseline: _between(curves[row["policy"], baseline], tokens_of(row))
                for baseline in BASELINES
                if (row["policy"], baseline) in curves
            },
        }
        for row in summary
        if row["strategy"] not in BASELINES
    ]


def in_words(row: Row) -> str:
    """One line on a row of `at_equal_tokens`."""
    others = [
        f"{name} {f'{100 * row[name]:5.1f}%' if row[name] is not None else 'not measured there'}"
        for name in BASELINES
        if name in row
    ]
    return (
        f"{row['policy']:10} {row['strategy']:22} {row['tokens']:8.0f} tokens  "
        f"{100 * row['accuracy']:5.1f}%  for as many: {', '.join(others) or 'no baseline'}"
    )


def _between(curve: Sequence[tuple[float, float]], tokens: float) -> float | None:
    spent, accuracies = zip(*sorted(curve), strict=True)
    if not spent[0] / (1 + SLACK) <= tokens <= spent[-1] * (1 + SLACK):
        return None
    return float(np.interp(np.log(tokens), np.log(spent), accuracies))

"""Measures of how well scores tell right from wrong, and of whether they mean what they say."""

import math
from typing import Any

import numpy as np


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """The chance that a right one is scored above a wrong one, ties counted half.

    None where there is no right one or no wrong one.

    Args:
        scores: `[n]` float.
        labels: `[n]` bool.
    """
    return auc_within(scores, labels, np.zeros(len(scores), int))


def auc_within(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float | None:
    """The chance that of a right and a wrong one of the same group the right one is scored higher.

    All such pairs weigh the same. A score that depends on the group alone has 0.5.

    Args:
        scores: `[n]` float.
        labels: `[n]` bool.
        groups: `[n]` int.
    """
    above, pairs = 0, 0
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    for places in np.split(order, starts):
        right, wrong = scores[places][labels[places]], np.sort(scores[places][~labels[places]])
        below = np.searchsorted(wrong, right, "left")
        not_above = np.searchsorted(wrong, right, "right")
        above += int((below + not_above).sum())
        pairs += len(right) * len(wrong)
    return above / (2 * pairs) if pairs else None


def held_out_accuracy(scores: np.ndarray, labels: np.ndarray, halves: np.ndarray) -> float | None:
    """The share of labels that a threshold of the scores gets right, chosen on the other half.

    A score that says how likely a solution still comes out right (from soft labels) is compared
    with one that says whether all is right so far: no one threshold suits both.

    Args:
        scores: `[n]` float.
        labels: `[n]` bool.
        halves: `[n]` bool.
    """
    if halves.all() or not halves.any():
        return None
    right = 0
    for chosen, measured in ((halves, ~halves), (~halves, halves)):
        threshold = _best_threshold(scores[chosen], labels[chosen])
        right += int(((scores[measured] >= threshold) == labels[measured]).sum())
    return right / len(scores)


def _best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    order = np.argsort(scores, kind="stable")
    ascending, right = scores[order], labels[order]
    # With the threshold at a place, what is below it is called wrong and the rest right.
    hits = np.concatenate([[0], np.cumsum(~right)]) + np.concatenate(
        [np.cumsum(right[::-1])[::-1], [0]]
    )
    apart = np.concatenate([[True], ascending[1:] > ascending[:-1], [True]])
    place = int(np.argmax(np.where(apart, hits, -1)))
    if place == len(ascending):
        return math.inf
    below = ascending[place - 1] if place else -math.inf
    return float(ascending[place] if below == -math.inf else (below + ascending[place]) / 2)


def calibration_error(scores: np.ndarray, labels: np.ndarray, num_bins: int = 10) -> float:
    """The expected calibration error (Naeini et al. 2015): the mean distance of the share of right
    ones from the mean score, in bins of equal width, weighed by their sizes."""
    bins = np.minimum((scores * num_bins).astype(int), num_bins - 1)
    error = 0.0
    for number in np.unique(bins):
        inside = bins == number
        error += inside.sum() * abs(labels[inside].mean() - scores[inside].mean())
    return float(error / max(len(scores), 1))


def reliability(scores: np.ndarray, labels: np.ndarray, num_bins: int = 10) -> list[list[float]]:
    """Mean score, share of right ones and number of each bin of equal width that is not empty."""
    bins = np.minimum((scores * num_bins).astype(int), num_bins - 1)
    groups = [bins == number for number in np.unique(bins)]
    return [
        [float(scores[group].mean()), float(labels[group].mean()), float(group.sum())]
        for group in groups
    ]


def quality(scores: np.ndarray, labels: np.ndarray) -> dict[str, float | int | None]:
    """Accuracy at a threshold of a half, AUC and calibration of scores in [0, 1]."""
    return {
        "count": len(scores),
        "share_right": float(labels.mean()) if len(labels) else None,
        "accuracy": float(((scores >= 0.5) == labels).mean()) if len(labels) else None,
        "auc": auc(scores, labels),
        "calibration_error": calibration_error(scores, labels),
    }


def step_quality(scores: np.ndarray, labels: np.ndarray, present: np.ndarray) -> dict[str, Any]:
    """Measures how well scores in [0, 1] tell right steps from wrong ones.

    "auc" is that of a beam, which ranks steps of one number within one problem, and never the last
    step of a solution; "auc_by_step" is the same of each number. "accuracy" see
    `held_out_accuracy`, of halves of the problems.

    Args:
        scores: `[Q, n, S]` float32, of the steps of n solutions of each problem.
        labels: `[Q, n, S]` bool, whether all is right up to the step.
        present: `[Q, n, S]` bool, which steps there are.
    """
    number, _, steps = present.shape
    problem = np.broadcast_to(np.arange(number)[:, None, None], present.shape)
    step = np.broadcast_to(np.arange(steps), present.shape)
    ranked = present & (step < present.sum(axis=2, keepdims=True) - 1)
    groups = problem * present.shape[2] + step

    def within(chosen: np.ndarray) -> float | None:
        return auc_within(scores[chosen], labels[chosen], groups[chosen])

    said, true = scores[present], labels[present]
    return {
        "count": len(said),
        "share_right": float(true.mean()) if len(true) else None,
        "accuracy": held_out_accuracy(said, true, problem[present] % 2 == 0),
        "auc": within(ranked),
        "auc_by_step": [within(ranked & (step == number)) for number in range(present.shape[2])],
        "calibration_error": calibration_error(said, true),
    }

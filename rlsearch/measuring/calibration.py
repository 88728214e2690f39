"""Measures of how well scores tell right from wrong, and of whether they mean what they say."""

import numpy as np


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """The chance that a right one is scored above a wrong one, ties counted half.

    None where there is no right one or no wrong one.

    Args:
        scores: `[n]` float.
        labels: `[n]` bool.
    """
    right, wrong = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(right) or not len(wrong):
        return None
    below = np.searchsorted(wrong, right, "left")
    not_above = np.searchsorted(wrong, right, "right")
    return float((below + not_above).sum() / (2 * len(right) * len(wrong)))


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

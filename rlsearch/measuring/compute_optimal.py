"""The best way to spend test-time compute, by how difficult a problem is (Snell et al. 2024).

Problems are put into bins of equal size by their difficulty. In each bin, and for each budget, the
setting that answers most of one half of the bin's problems is measured on the other half, and the
other way round: no problem is measured under a setting that was chosen with its help.

Letters: C settings, Q problems.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

NUM_BINS = 5


class Optimal(NamedTuple):
    """The outcome of the best setting of each bin."""

    accuracy: np.ndarray  # [Q] float, of each problem under the setting that the other half chose
    chosen: list[tuple[int, int]]  # of each bin the setting that either half chose


def difficulty_bins(ease: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """`[Q]` int, 0 for the easiest fifth; ties are kept in the order of the problems.

    Args:
        ease: `[Q]` float, the higher the easier: the share of samples that are right (oracle), or
            what a verifier thinks of them on average (predicted).
    """
    order = np.argsort(-np.asarray(ease), kind="stable")
    bins = np.empty(len(order), int)
    bins[order] = np.arange(len(order)) * num_bins // max(len(order), 1)
    return bins


def compute_optimal(right: np.ndarray, bins: np.ndarray, seed: int = 0) -> Optimal:
    """Two-fold cross-validation inside each bin.

    Args:
        right: `[C, Q]` float, how often a setting answers a problem rightly.
        bins: `[Q]` int.
        seed: of the halves.
    """
    random = np.random.default_rng(seed)
    accuracy, chosen = np.zeros(right.shape[1]), []
    for number in np.unique(bins):
        inside = random.permutation(np.flatnonzero(bins == number))
        halves = inside[: len(inside) // 2], inside[len(inside) // 2 :]
        best = []
        for own, other in (halves, halves[::-1]):
            # A half without a problem can choose nothing; then the first setting stands.
            best.append(int(np.argmax(right[:, own].mean(axis=1))) if len(own) else 0)
            accuracy[other] = right[best[-1], other]
        chosen.append((best[0], best[1]))
    return Optimal(accuracy, chosen)


def budget_needed(accuracies: Mapping[int, float], wanted: float) -> float | None:
    """The budget from which on an accuracy is reached, between two budgets by their logarithms.

    A larger budget that falls below it again counts: the first of noisy crossings would flatter.
    None where the largest of `accuracies` (by budget) does not reach it.
    """
    points = sorted(accuracies.items())
    missed = [number for number, (_, accuracy) in enumerate(points) if accuracy < wanted]
    last = missed[-1] if missed else -1
    if last == len(points) - 1:
        return None
    budget, accuracy = points[last + 1]
    if last < 0:
        return float(budget)
    before, low = points[last]
    share = (wanted - low) / (accuracy - low)
    return float(before * (budget / before) ** share)


def inference_multiplier(parameter_ratio: float, inference_ratio: float) -> float:
    """Returns how much more inference a small model may spend to cost what a larger one costs.

    Pre-training costs 6 P D_pre and inference 2 P D_inf. A model with m times the parameters, on
    the same data, costs m times both; the small one may spend m + (3 / R) (m - 1) times its
    inference for that (Snell et al. 2024, section 7).

    Args:
        parameter_ratio: m, at least 1.
        inference_ratio: R = D_inf / D_pre, positive.

    Raises:
        ValueError: if they are not.
    """
    for name, value, least in (("m", parameter_ratio, 1.0), ("R", inference_ratio, 1e-9)):
        if not value >= least:
            raise ValueError(
                f"{name} is {value}: it must be {'at least 1' if name == 'm' else 'positive'}"
            )
    return parameter_ratio + 3.0 / inference_ratio * (parameter_ratio - 1.0)


def mean_by_bin(values: np.ndarray, bins: np.ndarray) -> Sequence[float]:
    """The mean of `values [Q]` in each bin, the easiest first."""
    return [float(values[bins == number].mean()) for number in np.unique(bins)]

"""Signs that a stage fails silently, told in a sentence the first time that one is seen."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

ROWS = 10  # written metrics whose mean is looked at


class Sign(NamedTuple):
    """A metric, a share, that no training should have so high for long."""

    metric: str
    most: float
    sentence: str  # `share` stands for its mean


SIGNS = (
    Sign(
        "cut",
        0.5,
        "{share} of the texts are cut at their longest, and are wrong whatever they say: more "
        "tokens (model.max_tokens) or lines (model.lines), or a prompt that asks for less, would "
        "help",
    ),
    Sign(
        "no_spread",
        0.9,
        "in {share} of the groups all samples come out alike, and teach nothing: easier or harder "
        "problems, or more samples of each (num_samples), would help",
    ),
    Sign(
        "judge_failures",
        0.1,
        "the task's checker fails, or takes too long, for {share} of the texts, which are wrong "
        "then",
    ),
)
UNSOLVED = (
    "none of the problems of {rows} steps were solved, so that nothing is learnt: easier problems, "
    "more samples or simulations, or a better policy to start from would help"
)


class Watch:
    """The newest metrics of a stage, and what has been told of them."""

    def __init__(self, stage: str):
        self._stage = stage
        self._rows: deque[Mapping[str, float]] = deque(maxlen=ROWS)
        self._told: set[str] = set()

    def see(self, metrics: Mapping[str, float]) -> list[str]:
        """Returns what is to be told now that these metrics are there, if anything."""
        self._rows.append(metrics)
        if len(self._rows) < ROWS:
            return []
        found = []
        for sign in SIGNS:
            share = self._mean(sign.metric)
            if share is not None and share > sign.most and sign.metric not in self._told:
                self._told.add(sign.metric)
                found.append(sign.sentence.format(share=f"{100 * share:.0f}%"))
        if self._mean("solved") == 0 and "solved" not in self._told:
            self._told.add("solved")
            found.append(UNSOLVED.format(rows=ROWS))
        return [f"{self._stage}: {sentence}" for sentence in found]

    def _mean(self, metric: str) -> float | None:
        """The mean of a metric, or None where a row does not have it."""
        values = [row.get(metric) for row in self._rows]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

"""A study: one question asked of a trained run."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from rlsearch.config import check
from rlsearch.measuring.examination import SPLITS
from rlsearch.measuring.opened import OpenedRun
from rlsearch.strategies.base import Strategy, name_of
from rlsearch.strategies.drawing import Drawing, drawing_as, drawing_of


class Report(Protocol):
    """A listener that is told one line after each result."""

    def __call__(self, line: str, done: float | None = None, /) -> None:
        """Hears a line.

        Args:
            done: the share of the work behind it, in [0, 1]; None where that is not known.
        """
        ...


class Study(Protocol):
    """A frozen dataclass whose fields say what is measured; empty ones leave it to the run."""

    def run(self, opened: OpenedRun, report: Report) -> dict[str, Any]:
        """Writes a table and pictures under RUN/evaluations; returns their content and paths.

        Raises:
            ValueError: if the run, or a field, does not allow it.
        """
        ...


def silent(line: str, done: float | None = None, /) -> None:
    """Reports to nobody."""


def check_extent(study: Any) -> None:
    """Raises ValueError where budgets, chains, problems or a split cannot be measured."""
    for field in ("budgets", "sequential"):
        values = getattr(study, field, ())
        if isinstance(values, tuple):
            check(all(x >= 1 for x in values), study, field, "whole numbers of at least 1")
        else:
            check(values >= 0, study, field, "at least 0")
    number = getattr(study, "problems", None)
    check(number is None or number >= 1, study, "problems", "at least 1")
    split = getattr(study, "split", "held_out")
    check(split in SPLITS, study, "split", "'held_out' or 'training'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """The fields of a study that holds strategies against one another: they draw alike, and choose
    alike among what they have finished."""

    temperature: float | None = None  # of all strategies; None: their own
    min_p: float | None = None  # of all strategies; None: their own
    policy_weight: float | None = None  # of all strategies, see `confidence`; None: the config's

    def __post_init__(self):
        given = {name: value for name, value in self._fields().items() if value is not None}
        Drawing(**given).sampling  # noqa: B018  refuses what cannot be drawn with
        check_extent(self)

    def alike(
        self, strategies: Sequence[Strategy], policy_weight: float | None
    ) -> tuple[Strategy, ...]:
        """The strategies, drawing and choosing in the same way.

        Args:
            policy_weight: where the study does not give one; None: the strategies' own.

        Raises:
            ValueError: if two have one name, so that their rows could not be told apart, or draw
                or choose in different ways.
        """
        names = [name_of(strategy) for strategy in strategies]
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        if twice:
            raise ValueError(f"strategies are {', '.join(names)}: {twice[0]} is there twice")
        given = self._fields()
        if given["policy_weight"] is None:
            given["policy_weight"] = policy_weight
        given = {name: value for name, value in given.items() if value is not None}
        made = tuple(drawing_as(strategy, given) for strategy in strategies)
        for field in self._fields():
            found = {
                name: drawing_of(strategy)[field]
                for name, strategy in zip(names, made, strict=True)
                if field in drawing_of(strategy)
            }
            if len(set(found.values())) > 1:
                said = ", ".join(f"{value} of {name}" for name, value in found.items())
                raise ValueError(
                    f"{field} is {said}: strategies that are compared draw alike; give one for all"
                )
        return made

    def _fields(self) -> dict[str, float | None]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Comparison)}


def in_common(strategies: Sequence[Strategy]) -> dict[str, float]:
    """The draws and the choice of strategies that are `Comparison.alike`, for beside results."""
    return {name: value for strategy in strategies for name, value in drawing_of(strategy).items()}

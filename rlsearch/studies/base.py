"""A study: one question asked of a trained run."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rlsearch.config import check
from rlsearch.measuring.examination import SPLITS
from rlsearch.measuring.opened import OpenedRun
from rlsearch.strategies.base import Strategy, name_of

Report = Callable[[str], None]  # is told one line after each result


class Study(Protocol):
    """A frozen dataclass whose fields say what is measured; empty ones leave it to the run."""

    def run(self, opened: OpenedRun, report: Report) -> dict[str, Any]:
        """Writes a table and pictures under RUN/evaluations; returns their content and paths.

        Raises:
            ValueError: if the run, or a field, does not allow it.
        """
        ...


def silent(line: str) -> None:
    """Reports to nobody."""


def check_extent(study: Any) -> None:
    """Raises ValueError where budgets, chains, problems or a split cannot be measured."""
    for field in ("budgets", "sequential"):
        values = getattr(study, field, ())
        if isinstance(values, tuple):
            check(all(x >= 1 for x in values), study, field, "whole numbers of at least 1")
        else:
            check(values >= 0, study, field, "at least 0")
    number = study.problems
    check(number is None or number >= 1, study, "problems", "at least 1")
    check(study.split in SPLITS, study, "split", "'held_out' or 'training'")


def told_apart(strategies: Sequence[Strategy]) -> Sequence[Strategy]:
    """The same strategies.

    Raises:
        ValueError: if two have one name: their rows could not be told apart.
    """
    names = [name_of(strategy) for strategy in strategies]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise ValueError(f"strategies are {', '.join(names)}: {twice[0]} is there twice")
    return strategies

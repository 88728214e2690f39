"""Everything that a run can show of test-time compute, by one command.

The study of strategies always; that of verifiers where the run has trained all that it is to, that
of revisions where a policy of it revises, and the exchange with pre-training where there is a
larger model to hold it against. Each writes its own table and pictures.
"""

import dataclasses
from typing import Any

from rlsearch.config import A_STRATEGY
from rlsearch.measuring.opened import OpenedRun
from rlsearch.studies.base import Comparison, Report, silent
from rlsearch.studies.exchange import Exchange
from rlsearch.studies.revisions import Revisions
from rlsearch.studies.test_time_compute import TestTimeCompute
from rlsearch.studies.verifiers import Verifiers


@dataclasses.dataclass(frozen=True)
class Everything(Comparison):
    """The result of `TestTimeCompute`; beside it, by their names, those of the other studies."""

    strategies: tuple[A_STRATEGY, ...] = ()  # see `TestTimeCompute`; the others take their own
    budgets: tuple[int, ...] = ()  # of all studies; empty: those of the run's config
    seeds: tuple[int, ...] = ()  # of all, the first one of the verifiers'; empty: the config's
    policies: tuple[str, ...] = ()  # see `TestTimeCompute`
    problems: int | None = None  # of all studies
    verifier: str = "value_head"  # that judges in all studies but that of verifiers
    aggregation: str = ""  # of all studies
    against: str = ""  # the run of a larger model; empty: no exchange
    split: str = "held_out"  # of all studies

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        others = {}
        if self.against:  # first: whether the two can be compared is known at once
            report("the exchange with pre-training")
            others["exchange"] = self._study(Exchange, against=self.against).run(opened, report)
            report("the suite of strategies")
        chosen = {"strategies": self.strategies, "policies": self.policies}
        result = self._study(TestTimeCompute, **chosen).run(opened, report)
        if opened.verifiers() and opened.complete_verifiers() == opened.verifiers():
            report("the suite of verifiers")
            seed = (self.seeds or opened.defaults.seeds)[0]
            others["verifiers"] = self._study(Verifiers, seed=seed).run(opened, report)
        if set(opened.revising_policies()) & opened.policies().keys():
            report("the suite of revisions")
            others["revisions"] = self._study(Revisions).run(opened, report)
        return {**result, **others}

    def _study(self, kind: Any, **own: Any) -> Any:
        """A study of a kind, with those of its fields that all studies share."""
        shared = ("budgets", "seeds", "problems", "verifier", "aggregation", "split")
        shared += tuple(field.name for field in dataclasses.fields(Comparison))
        names = {field.name for field in dataclasses.fields(kind)}
        given = {name: getattr(self, name) for name in shared if name in names}
        return kind(**given | own)

"""Accuracy against compute: every policy of a run, every strategy, every budget."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rlsearch.config import A_STRATEGY
from rlsearch.measuring.accuracy import Row, summarise
from rlsearch.measuring.accuracy_picture import draw
from rlsearch.measuring.examination import Contestant, Examination, examine
from rlsearch.measuring.measure import measure_each
from rlsearch.measuring.opened import OpenedRun
from rlsearch.measuring.rows import rows_of
from rlsearch.runs.directory import write_json
from rlsearch.strategies.base import Strategy, name_of
from rlsearch.strategies.drawing import drawing_as
from rlsearch.strategies.revisions import Revisions
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.studies.base import Comparison, Report, in_common, silent
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.checker import Checker


@dataclasses.dataclass(frozen=True)
class Accuracy(Comparison):
    """Writes `evaluations/SPLIT.json` and `.png`."""

    strategies: tuple[A_STRATEGY, ...] = ()  # empty: those of the run's config
    budgets: tuple[int, ...] = ()  # empty: those of the run's config
    seeds: tuple[int, ...] = ()  # empty: those of the run's config
    policies: tuple[str, ...] = ()  # empty: all that are complete
    problems: int | None = None  # so many, see `examine`; None: as many as are held out
    verifier: str = "value_head"  # that judges for all strategies; see `OpenedRun.judge`
    aggregation: str = ""  # of its scores; empty: its own
    oracle: bool = False  # adds tree search with the checker inside it, an upper bound
    sequential: int = 0  # attempts of a chain of the strategy revisions; 0: its own
    split: str = "held_out"  # see `examine`

    def run(self, opened: OpenedRun, report: Report = silent) -> dict[str, Any]:
        """See `Study.run`."""
        examination, contestants = examine(opened, self.policies, self.problems, self.split)
        strategies = self.alike(
            self.strategies or opened.default_strategies(), opened.defaults.policy_weight
        )
        judge = opened.judge(self.verifier, self.aggregation, [x.name for x in contestants])
        chosen = [(self._chained(strategy), judge) for strategy in strategies]
        if self.oracle:
            # The checker is not to be outweighed by the policy.
            oracle = drawing_as(TreeSearch(), in_common(strategies) | {"policy_weight": 0.0})
            chosen.append((oracle, Checker.of(opened.task)))
        budgets = self.budgets or opened.defaults.budgets
        seeds = self.seeds or opened.defaults.seeds
        rows = measured_rows(chosen, contestants, examination, budgets, seeds, report)
        result = {
            "benchmark": self.split,
            "split": opened.task_split,
            "drawing": in_common(strategies),
            "rows": rows,
        }
        table, picture = (examination.folder / f"{self.split}{end}" for end in (".json", ".png"))
        write_json(table, result)
        summary = summarise(rows)
        draw(summary, picture, examination.title)
        return {**result, "summary": summary, "table": str(table), "picture": str(picture)}

    def _chained(self, strategy: Strategy) -> Strategy:
        if self.sequential and isinstance(strategy, Revisions):
            return dataclasses.replace(strategy, sequential=self.sequential)
        return strategy


def measured_rows(
    chosen: Sequence[tuple[Strategy, Judge]],
    contestants: Sequence[Contestant],
    examination: Examination,
    budgets: Sequence[int],
    seeds: Sequence[int],
    report: Report,
) -> list[Row]:
    """One row for each strategy with its judge, budget, contestant and seed."""
    rows: list[Row] = []
    spent = 0  # solutions a problem, of all strategies
    for strategy, judge in chosen:
        name = name_of(strategy)
        label = f"{name} (oracle)" if judge.oracle else name
        for budget in budgets:
            made = []
            for contestant, measured in measure_each(
                strategy, contestants, judge, examination, budget, seeds
            ):
                made += rows_of(name, contestant, judge, examination, budget, seeds, measured)
            rows += made
            spent += budget
            for row in summarise(made):
                share = f"{100 * row['accuracy']:5.1f}%"
                line = f"{row['policy']:10} {label:22} budget {budget:4}  {share}"
                report(line, spent / (len(chosen) * sum(budgets)))
    return rows

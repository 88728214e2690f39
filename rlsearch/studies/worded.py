"""Test-time strategies of an open model, on problems in words, against the tokens they write."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from rlsearch.config import Lines
from rlsearch.measuring.accuracy import summarise
from rlsearch.measuring.accuracy_picture import draw
from rlsearch.measuring.open_accuracy import Asking
from rlsearch.measuring.worded import examine_open
from rlsearch.pretrained.opened import OpenModel
from rlsearch.runs.directory import write_json
from rlsearch.strategies.base import Strategy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.strategies.tree_vote import TreeVote
from rlsearch.studies.accuracy import measured_rows
from rlsearch.studies.base import Comparison, Report, in_common, silent
from rlsearch.tasks.questions import Problem, TextTask
from rlsearch.verifiers.constant import Constant

POLICY_WEIGHT = 1.0  # where nothing is given: no verifier speaks, and the policy's word is all


@dataclasses.dataclass(frozen=True)
class WordedAccuracy(Comparison):
    """Strategies without a verifier: they vote, or take what the policy holds likeliest."""

    strategies: tuple[Strategy, ...] = (SelfConsistency(), TreeVote())
    budgets: tuple[int, ...] = (4, 16)  # in mean sampled solutions
    asking: Asking = Asking()
    lines: Lines = Lines()

    def measure(
        self,
        opened: OpenModel,
        task: TextTask,
        problems: Sequence[Problem],
        out: epath.Path,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Answers all problems; writes the table `out` with a picture beside it.

        Raises:
            ValueError: no strategy can spend any of the budgets.
        """
        given = self
        if self.temperature is None:
            given = dataclasses.replace(self, temperature=self.asking.temperature)
        strategies = given.alike(self.strategies, POLICY_WEIGHT)
        examination, contestant = examine_open(opened, task, problems, self.asking, self.lines)
        ways = [(strategy, Constant()) for strategy in strategies]
        seeds = (self.asking.seed,)
        rows = measured_rows(ways, [contestant], examination, self.budgets, seeds, report)
        if not rows:
            said = ", ".join(map(str, self.budgets))
            raise ValueError(
                f"budgets are {said}: there must be one that a strategy can spend: greedy decoding "
                "spends 1, a tree no less than the longest solution"
            )
        prompt = self.asking.prompt(opened, problems[0])
        table = {
            "model": opened.folder,
            "task": {"cls": type(task).__name__, **dataclasses.asdict(task)},  # pyright: ignore
            "asking": dataclasses.asdict(self.asking),
            "lines": dataclasses.asdict(self.lines),
            "prompt": opened.tokenizer.library.decode(prompt, skip_special_tokens=False),
            "drawing": in_common(strategies),
            "unit": contestant.unit,
            "rows": rows,
        }
        write_json(out, table)
        picture = out.with_suffix(".png")
        draw(summarise(rows), picture, examination.title)
        return {**table, "table": str(out), "picture": str(picture)}

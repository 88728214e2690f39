"""Results as rows of a table in RUN/evaluations, all of one form."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rlsearch.measuring.accuracy import Row, wilson_interval
from rlsearch.measuring.costs import answer_flops, context_flops, verifier_flops
from rlsearch.measuring.examination import Contestant, Examination
from rlsearch.measuring.measure import Measured
from rlsearch.verifiers.base import Judge


@dataclasses.dataclass(frozen=True)
class Costs:
    """The cost of one answer, on average."""

    generations: float  # solutions finished
    policy_tokens: float
    verifier_tokens: float
    context_tokens: float = 0.0  # read by the policy beside the prompt
    contexts: float = 0.0  # in so many texts


@dataclasses.dataclass(frozen=True)
class Result:
    """Problems answered in one way, under one seed."""

    settings: dict[str, Any]  # of the strategy
    budget: int  # in mean sampled solutions
    solved: float  # of the problems, on average where samples were drawn again
    problems: int
    costs: Costs
    seconds: float


def rows_of(
    strategy: str,
    contestant: Contestant,
    judge: Judge | None,
    examination: Examination,
    budget: int,
    seeds: Sequence[int],
    measured: Measured,
) -> list[Row]:
    """One row for each seed of what was measured; see `row_of`."""
    rows, problems = [], measured.right.shape[1]
    for number, seed in enumerate(seeds):
        costs = {
            field.name: float(getattr(measured, field.name)[number].mean())
            for field in dataclasses.fields(Costs)
        }
        solved = int(measured.right[number].sum())
        result = Result(
            measured.settings, budget, solved, problems, Costs(**costs), measured.seconds
        )
        rows.append(row_of(strategy, contestant, judge, examination, seed, result))
    return rows


def row_of(
    strategy: str,
    contestant: Contestant,
    judge: Judge | None,
    examination: Examination,
    seed: int,
    result: Result,
) -> Row:
    """The row of a result.

    `ci95` is the Wilson interval over the problems: seeds share the problems, so that the interval
    of a mean over seeds is no narrower.

    Args:
        judge: None where none was asked.
    """
    task, policy, costs = examination.task, contestant.writer.policy, result.costs
    spent = dataclasses.asdict(costs)
    del spent["contexts"]
    return {
        "checkpoint_step": contestant.step,
        "policy": contestant.name,
        "strategy": strategy,
        "settings": result.settings,
        "verifier": "none" if judge is None else judge.label,
        "oracle": judge is not None and judge.oracle,
        "budget": result.budget,
        "seed": seed,
        "accuracy": result.solved / result.problems,
        "ci95": list(wilson_interval(result.solved, result.problems)),
        "problems": result.problems,
        "prompt_tokens": task.prompt_length,
        **spent,
        "flops": answer_flops(policy, task, costs.policy_tokens)
        + context_flops(policy, task, costs.context_tokens, costs.contexts)
        + verifier_flops(judge, policy, task, costs.verifier_tokens),
        "seconds": result.seconds,
    }

"""The verifiers that can judge what a run writes."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.head import HeadVerifier


def with_aggregation(judge: Any, aggregation: str) -> Any:
    """A verifier with another way to make one score of those of the steps.

    Raises:
        ValueError: if it cannot be given one.
    """
    try:
        return dataclasses.replace(judge, aggregation=aggregation)
    except TypeError as error:
        raise ValueError(
            f"aggregation is {aggregation!r}: verifier {judge.label!r} has its own, and no "
            "field in which to be given another"
        ) from error


def check_same_language(label: str, its: Task, ours: Task) -> None:
    """Raises ValueError where a verifier of the task `its` reads other words, or solutions of
    another shape, than the policies of the task `ours` write."""
    if its.tokenizer.index != ours.tokenizer.index:
        raise ValueError(
            f"verifier is {label!r}: it has another tokenizer, of {its.vocab_size} words where "
            f"this run has {ours.vocab_size}"
        )
    for field in ("prompt_length", "solution_length", "num_steps", "max_step_length"):
        if getattr(its, field) != getattr(ours, field):
            raise ValueError(
                f"verifier is {label!r}: its {field} is {getattr(its, field)}, and that of this "
                f"run is {getattr(ours, field)}"
            )


def check_judges(judge: Judge, policies: Iterable[str]) -> None:
    """Raises ValueError where one of `policies` has not the trunk that a head was trained on."""
    if isinstance(judge, HeadVerifier):
        strange = [name for name in policies if name != judge.policy]
        if strange:
            raise ValueError(
                f"verifier is {judge.label!r}: it is a head on the trunk of policy "
                f"{judge.policy!r}, not of {strange[0]!r}: give --policies {judge.policy}"
            )

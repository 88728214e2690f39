"""Solutions whose steps somebody has rated: files in the form of PRM800K and of Math-Shepherd.

Both are lines of JSON, in UTF-8. What a file may say is bounded, and nothing of it is run. By the
conventions of "Let's Verify Step by Step" (Lightman et al. 2023) and Math-Shepherd (Wang et al.
2023):

    PRM800K        a rating of 1 or 0 (neutral) is right, -1 wrong; nothing is said behind the first
                   wrong step; questions for quality control and screening are left out. Every rated
                   completion of a step counts, under the steps that were chosen before it
    Math-Shepherd  in `input` a sign stands behind each step, and in `label` + or - in its place
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from etils import epath

FORMS = ("prm800k", "math_shepherd")
MAX_LINE = 2**20  # bytes of one line: more is refused
MAX_STEPS = 1000  # of one solution
STEP_SIGN = "\u043a\u0438"  # what Math-Shepherd writes behind a step
FIRST_STEP = "Step 1:"


class RatedSolution(NamedTuple):
    """One solution."""

    problem: str
    steps: tuple[str, ...]
    ratings: tuple[float | None, ...]  # of each step: 1 right, 0 wrong, None not rated


def read_ratings(path: epath.PathLike, form: str) -> Iterator[RatedSolution]:
    """Reads a file line by line.

    Args:
        form: one of `FORMS`.

    Raises:
        ValueError: if a line has not that form, or is too long.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}: it must be {' or '.join(FORMS)}")
    of_line = _prm800k if form == "prm800k" else _math_shepherd
    with epath.Path(path).open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ValueError(f"{path}, line {number}: it has over {MAX_LINE} bytes")
            if not line.strip():
                continue
            try:
                yield from of_line(json.loads(line))
            except _WRONG as error:
                raise ValueError(f"{path}, line {number}: it is not of the form {form}") from error


_WRONG = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _rating(completion: dict[str, Any]) -> float | None:
    """1 for a rating of 1 or 0, and 0 for -1; None where there is none."""
    found = completion.get("rating")
    if found is None:
        return None
    if found not in (-1, 0, 1):
        raise ValueError
    return float(found >= 0)


def _prm800k(line: dict[str, Any]) -> Iterator[RatedSolution]:
    if line.get("is_quality_control_question") or line.get("is_initial_screening_question"):
        return
    problem, steps = _text(line["question"]["problem"]), line["label"]["steps"]
    if len(steps) > MAX_STEPS:
        raise ValueError
    texts: tuple[str, ...] = ()
    ratings: tuple[float | None, ...] = ()
    unsaid = False  # whether the solution so far has a rating that no row of its own shows
    for step in steps:
        completions, chosen = step["completions"] or [], step.get("chosen_completion")
        for place, completion in enumerate(completions):
            if place != chosen and _rating(completion) is not None:
                earlier = (None,) * len(texts)
                text = _text(completion["text"])
                yield RatedSolution(problem, (*texts, text), (*earlier, _rating(completion)))
        human = step.get("human_completion")
        if chosen is not None:
            taken = completions[chosen]
            rating = _rating(taken)
        elif human:
            taken, rating = human, None
        else:
            break
        texts, ratings = (*texts, _text(taken["text"])), (*ratings, rating)
        unsaid = unsaid or rating is not None
        if rating == 0.0:
            break
    if unsaid:
        yield RatedSolution(problem, texts, ratings)


def _math_shepherd(line: dict[str, Any]) -> Iterator[RatedSolution]:
    given, labelled = _text(line["input"]), _text(line["label"])
    *steps, rest = given.split(STEP_SIGN)
    if not steps or len(steps) > MAX_STEPS or rest.strip():
        raise ValueError
    ratings, at = [], 0
    for step in steps:
        if not labelled.startswith(step, at):
            raise ValueError
        at += len(step) + 1
        ratings.append({"+": 1.0, "-": 0.0}[labelled[at - 1]])
    problem, sign, first = steps[0].partition(FIRST_STEP)
    if not sign:
        raise ValueError
    texts = [first, *(step.partition(":")[2] for step in steps[1:])]
    yield RatedSolution(problem.strip(), tuple(text.strip() for text in texts), tuple(ratings))

"""Solutions whose steps somebody has rated: files in the form of PRM800K and of Math-Shepherd.

Both are lines of JSON, in UTF-8. What a file may say is bounded, and nothing of it is run. A line
that is not of the form is left out, and what was left out is told. By the conventions of "Let's
Verify Step by Step" (Lightman et al. 2023) and Math-Shepherd (Wang et al. 2023):

    PRM800K        a rating of 1 or 0 (neutral) is right, -1 wrong; nothing is said behind the first
                   wrong step; questions for quality control and screening are left out. Every rated
                   completion of a step counts, under the steps that were chosen before it
    Math-Shepherd  in `input` a sign stands behind each step, and in `label` + or - in its place.
                   A problem ends where the first step begins, and may hold the sign itself; nothing
                   is said of what stands behind the last sign
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from etils import epath

from rlsearch.data.left_out import LeftOut
from rlsearch.files import parse_json, read_lines

FORMS = ("prm800k", "math_shepherd")
MAX_FILE = 4 * 2**30  # bytes of a file, which is read line by line
MAX_LINE = 2**20  # bytes of one line: a longer one is left out
MAX_STEPS = 1000  # of one solution
STEP_SIGN = "\u043a\u0438"  # what Math-Shepherd writes behind a step
_FIRST_STEP = re.compile(r"\bstep\s*1\s*:", re.IGNORECASE)
_STEP = re.compile(r"\A\s*step\s*\d+\s*:", re.IGNORECASE)


class RatedSolution(NamedTuple):
    """One solution."""

    problem: str
    steps: tuple[str, ...]
    ratings: tuple[float | None, ...]  # of each step: 1 right, 0 wrong, None not rated


class OddLineError(ValueError):
    """A line that is not of the form, with the reason."""


def read_ratings(
    path: epath.PathLike, form: str, left_out: LeftOut | None = None
) -> Iterator[RatedSolution]:
    """Reads a file line by line, and tells at its end of the lines that were left out.

    Args:
        form: one of `FORMS`.
        left_out: counts them; None for a count of its own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if no line has that form, or the file is too large or no regular one.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}: it must be {' or '.join(FORMS)}")
    of_line = _prm800k if form == "prm800k" else _math_shepherd
    left_out = left_out or LeftOut(str(path), f"of the form {form}")
    read = 0
    for number, line in enumerate(read_lines(path, MAX_FILE, "step ratings", MAX_LINE), start=1):
        if line is None:
            left_out.add(number, f"it has over {MAX_LINE} bytes")
            continue
        if not line.strip():
            continue
        try:
            solutions = list(of_line(parse_json(line)))
        except OddLineError as error:
            left_out.add(number, f"it is not of the form {form}: {error}")
        except _WRONG:
            left_out.add(number, f"it is not of the form {form}")
        else:
            read += 1
            yield from solutions
    left_out.conclude(read)


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
        raise OddLineError("a rating is none of -1, 0 and 1")
    return float(found >= 0)


def _prm800k(line: dict[str, Any]) -> Iterator[RatedSolution]:
    if line.get("is_quality_control_question") or line.get("is_initial_screening_question"):
        return
    problem, steps = _text(line["question"]["problem"]), line["label"]["steps"]
    if len(steps) > MAX_STEPS:
        raise OddLineError(f"it has over {MAX_STEPS} steps")
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
    *parts, _ = given.split(STEP_SIGN)  # the rest behind the last sign is not rated
    signs, at = [], 0
    for part in parts:
        if not labelled.startswith(part, at):
            raise OddLineError("its label has another text than its input")
        at += len(part)
        sign = next((sign for sign in ("+", "-", STEP_SIGN) if labelled.startswith(sign, at)), "")
        signs.append(sign)
        at += len(sign)
    first = next((row for row, part in enumerate(parts) if _FIRST_STEP.search(part)), None)
    if first is None:
        raise OddLineError("it has no step with a sign behind it")
    steps, ratings = parts[first:], signs[first:]
    if len(steps) > MAX_STEPS:
        raise OddLineError(f"it has over {MAX_STEPS} steps")
    if not {*ratings} <= {"+", "-"}:
        raise OddLineError("a step is rated neither + nor -")
    end, begin = _FIRST_STEP.search(steps[0]).span()  # pyright: ignore[reportOptionalMemberAccess]
    problem = STEP_SIGN.join([*parts[:first], steps[0][:end]]).strip()
    texts = [steps[0][begin:], *(_STEP.sub("", step, count=1) for step in steps[1:])]
    yield RatedSolution(
        problem,
        tuple(text.strip() for text in texts),
        tuple(1.0 if sign == "+" else 0.0 for sign in ratings),
    )

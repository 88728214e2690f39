"""Labels from solutions that somebody else has rated, in the words of a task."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from etils import epath

from rlsearch.data.left_out import LeftOut
from rlsearch.data.step_ratings import RatedSolution, read_ratings
from rlsearch.tasks.base import Task
from rlsearch.verifiers.label_files import part_path, read_about, write_about, write_part
from rlsearch.verifiers.labels import StepLabels


def write_ratings(
    folder: epath.Path, task: Task, described: dict[str, Any], path: str, form: str
) -> dict[str, Any]:
    """Writes a folder of labels from a file of rated solutions, as far as a task can say them.

    Args:
        described: the task, as `describe_task` does.
        form: of the file; see `rlsearch.data.step_ratings`.

    Returns:
        What labels.json says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another form, nothing that the task can say, or the folder is there.
    """
    if read_about(folder) is not None:
        raise ValueError(f"labels are {str(folder)!r}: there are some already; give another --name")
    left_out = LeftOut(path, f"of the form {form}")
    labels, dropped = rated_labels(task, read_ratings(path, form, left_out))
    if not len(labels.prompts):
        raise ValueError(f"{path}: of its {dropped} solutions the task can say none")
    write_part(part_path(folder, 0), labels)
    about = {
        "kind": form,
        **described,
        "parts": 1,
        "solutions_of_a_part": len(labels.prompts),
        "spent": 0,
        "solutions": len(labels.prompts),
        "labels": int((labels.weights > 0).sum()),
        "dropped": dropped,
        "left_out": left_out.count,
    }
    write_about(folder, about)
    return about


def rated_labels(task: Task, solutions: Iterable[RatedSolution]) -> tuple[StepLabels, int]:
    """Those solutions that a task has words for, and how many it has none for.

    A problem is one that `parse_problem` takes, and none that is held out: by the task's own
    `holds_out`, or where it has none word for word. A step is a line of the language, with or
    without the sign that ends it.
    """
    said = [(row, x.ratings) for x in solutions for row in [_tokens(task, x)]]
    rows = [(*row, ratings) for row, ratings in said if row is not None]
    prompts = np.array([row[0] for row in rows], np.int32).reshape(len(rows), task.prompt_length)
    left_out = _held_out(task, prompts)
    rows = [row for row, out in zip(rows, left_out, strict=True) if not out]
    dropped = len(said) - len(rows)
    count, steps = len(rows), task.num_steps
    labels = StepLabels(
        prompts=np.array([row[0] for row in rows], np.int32).reshape(count, task.prompt_length),
        solutions=np.full((count, task.solution_length), task.pad, np.int32),
        values=np.zeros((count, steps), np.float32),
        weights=np.zeros((count, steps), np.float32),
        generations=np.zeros((count,), np.int32),
    )
    for number, (_, tokens, ratings) in enumerate(rows):
        labels.solutions[number, : len(tokens)] = tokens
        for step, rating in enumerate(ratings):
            labels.weights[number, step] = rating is not None
            labels.values[number, step] = rating or 0.0
    return labels, dropped


def _held_out(task: Any, prompts: np.ndarray) -> np.ndarray:
    """`[B]` bool, of `prompts [B, P]`."""
    if hasattr(task, "holds_out"):
        return task.holds_out(prompts)
    known = {tuple(prompt) for prompt in task.held_out_prompts().tolist()}
    return np.array([tuple(prompt) in known for prompt in prompts.tolist()], bool)


def _tokens(task: Task, solution: RatedSolution) -> tuple[list[int], list[int]] | None:
    """The prompt and the solution as tokens, or None where the task cannot say them."""
    try:
        prompt = task.tokenizer.encode(task.parse_problem(solution.problem))
    except ValueError:
        return None
    tokens = []
    for step in solution.steps:
        line = task.tokenizer.encode(step.strip())
        if not line or line[-1] not in (task.end_of_step, task.end_of_solution):
            line = [*line, task.end_of_step]
        if len(line) > task.max_step_length:
            return None
        tokens += line
    allowed = np.asarray(task.grammar)
    fits = len(prompt) == task.prompt_length and len(tokens) <= len(allowed)
    fits = fits and 0 < len(solution.steps) <= task.num_steps
    if not fits or not allowed[np.arange(len(tokens)), tokens].all():
        return None
    return prompt, tokens

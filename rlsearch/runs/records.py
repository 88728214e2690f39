"""The records that a run keeps of itself, read as data: its metrics and its evaluations.

Each row is checked once, here, so that whoever shows or averages rows may take them at their word.
A row that is not as it must be is left out and counted; a file without a good one is refused.
"""

from collections.abc import Callable
from typing import Any

from etils import epath

from rlsearch.files import parse_json, read_json, read_lines

Row = dict[str, Any]

MAX_METRICS = 2**28  # bytes of a metrics.jsonl
MAX_METRIC_LINE = 2**16  # bytes of a step's
MAX_EVALUATION = 2**26  # bytes of an evaluation
MAX_TEXT = 200  # characters of a name in a row
MAX_WHOLE = 2**63 - 1  # of steps, budgets, seeds and the like
MAX_NUMBER = 1e300  # which can still be added up and drawn

_NAMES = ("policy", "strategy")
_WHOLE = ("budget", "problems")
_OPTIONAL_WHOLE = ("checkpoint_step", "seed")
_COSTS = ("policy_tokens", "verifier_tokens", "flops")


def metric_rows(path: epath.PathLike) -> tuple[list[Row], list[int]]:
    """Reads a metrics.jsonl; what follows the last newline is being written, and is left out.

    Returns:
        The rows, each with a whole `step`, `seconds`, and beside a text `stage` finite numbers or
        None alone; and the numbers of the lines that are none, from 1 on.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of text, too large, or none of its lines is a row.
    """
    rows, bad = [], []
    lines = read_lines(path, MAX_METRICS, "metrics", MAX_METRIC_LINE)
    for number, line in enumerate(lines, start=1):
        if line is not None and not line.endswith(b"\n"):
            break
        row = None if line is None else _metric_row(line)
        if row is None:
            bad.append(number)
        else:
            rows.append(row)
    if bad and not rows:
        raise ValueError(f"{path} is damaged: line {bad[0]} is not the metrics of a step")
    return rows, bad


def evaluation_rows(path: epath.PathLike) -> tuple[list[Row], int]:
    """Reads the rows of an evaluation, each with its benchmark; none where it has no accuracies.

    Tournaments and returns are measured otherwise.

    Returns:
        The rows, and how many were left out. A row has texts `benchmark`, `policy`, `strategy` and
        `verifier`; whether it is of an `oracle`; whole numbers `budget`, `problems` and, where it
        says them, `checkpoint_step` and `seed`; `accuracy` in [0, 1]; and `policy_tokens`,
        `verifier_tokens` and `flops`, which are 0 where it does not say them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no rows of a benchmark.
    """
    table = read_json(path, MAX_EVALUATION, "an evaluation")
    rows = table.get("rows", []) if isinstance(table, dict) else None
    if not isinstance(rows, list) or not _is_text(table.get("benchmark")):
        raise ValueError(f"{path} is damaged: it must hold rows of a benchmark")
    of = {"benchmark": table["benchmark"], "verifier": "", "oracle": False}
    of |= dict.fromkeys(_COSTS, 0.0)
    objects = [row for row in rows if isinstance(row, dict)]
    measured = [{**of, **row} for row in objects if "accuracy" in row]
    good = [row for row in measured if _is_evaluated(row)]
    return good, len(measured) - len(good) + len(rows) - len(objects)


def evaluations_in(folder: epath.Path, warn: Callable[[str], None]) -> list[Row]:
    """The rows of all evaluations in a folder, of which there may be none.

    Args:
        warn: is told once, in one sentence, how many rows were left out.

    Raises:
        ValueError: a file of them is damaged.
    """
    found: list[Row] = []
    bad: dict[str, int] = {}
    # A folder's own name may be a pattern, which `glob` would take for one.
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        if file.suffix == ".json" and not file.name.startswith("."):
            rows, left_out = evaluation_rows(file)
            found += rows
            bad |= {file.name: left_out} if left_out else {}
    if bad:
        warn(
            f"{folder}: {sum(bad.values())} rows are no evaluations and are left out, of "
            f"{', '.join(bad)}"
        )
    return found


def _metric_row(line: bytes) -> Row | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not _is_whole(row.get("step")):
        return None
    rest = {name: value for name, value in row.items() if name not in ("step", "stage")}
    good = is_number(rest.get("seconds")) and _is_text(row.get("stage", "none"))
    return row if good and all(x is None or is_number(x) for x in rest.values()) else None


def _is_evaluated(row: Row) -> bool:
    whole = [row.get(name) for name in _WHOLE]
    whole += [row[name] for name in _OPTIONAL_WHOLE if row.get(name) is not None]
    return (
        all(_is_text(row.get(name)) for name in (*_NAMES, "benchmark"))
        and isinstance(row["verifier"], str)
        and len(row["verifier"]) <= MAX_TEXT
        and isinstance(row["oracle"], bool)
        and all(_is_whole(value) for value in whole)
        and row["problems"] >= 1
        and is_number(row["accuracy"])
        and 0 <= row["accuracy"] <= 1
        and all(is_number(row[cost]) and row[cost] >= 0 for cost in _COSTS)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_WHOLE


def is_number(value: Any) -> bool:
    """Tells whether a value of JSON is a number of at most `MAX_NUMBER`; NaN is none."""
    return type(value) in (int, float) and abs(value) <= MAX_NUMBER

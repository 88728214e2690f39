"""Comparing runs: what differs between them, what they reached, and how they learnt.

Runs whose configs are the same but for the seed are one group. All is read as data from the files
of the run directories; runs that have not been evaluated are in the curves alone.
"""

import collections
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from rlsearch.config_data import ConfigError
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.pages.report_page import report_page
from rlsearch.pages.report_picture import draw
from rlsearch.results import saving
from rlsearch.runs.directory import RunDirectory, write_text
from rlsearch.runs.opening import flat_fields
from rlsearch.runs.parameters import warn
from rlsearch.runs.records import evaluations_in, metric_rows
from rlsearch.text import shortened
from rlsearch.training.progress import Progress

SETTINGS = ("log", "profile", "parallel", "name", "seed")  # these make no run another experiment

COSTS = ("policy_tokens", "verifier_tokens", "flops")
MOST = 1e300  # of a number in a file, which is to be squared and drawn

Row = dict[str, Any]


def report(run_dirs: Sequence[str], out: str = "") -> dict[str, Any]:
    """Writes `report.html` and `report.png`, and returns what they show.

    Args:
        run_dirs: runs, or folders in which runs lie.
        out: the folder to write to; by default the first of `run_dirs`.

    Raises:
        FileNotFoundError: if there is no run in one of the folders.
    """
    directories = [directory for path in run_dirs for directory in runs_in(path)]
    folder = epath.Path(out or run_dirs[0])
    runs = []
    with Progress(len(directories), "runs read", after=2.0) as progress:
        for directory in directories:
            runs.append(read(directory))
            progress.update(len(runs))
    fields = differing([run["config"] for run in runs])
    for run in runs:
        run["group"] = ", ".join(f"{x}={run['config'].get(x)}" for x in fields) or "all runs"
    rows = compare(runs)
    page, picture = folder / "report.html", folder / "report.png"
    image = draw(rows, runs)
    with saving(picture):
        folder.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(image)
    write_text(page, report_page(fields, rows, runs, image))
    kept = [{key: run[key] for key in ("run_dir", "group", "seed", "steps")} for run in runs]
    result = {"fields": fields, "runs": kept, "rows": rows}
    return {**result, "page": str(page), "picture": str(picture)}


def runs_in(path: str) -> list[RunDirectory]:
    """The run in a folder, or those in its folders.

    Raises:
        FileNotFoundError: if there is none.
    """
    directory = RunDirectory(path, create=False)
    if directory.config.exists():
        return [directory]
    inside = sorted(directory.path.iterdir()) if directory.path.is_dir() else []
    found = [RunDirectory(folder, create=False) for folder in inside if folder.is_dir()]
    found = [run for run in found if run.config.exists()]
    if not found:
        raise FileNotFoundError(
            f"run is {shortened(path)}: there is no config.json in it or in its folders"
        )
    return found


def read(directory: RunDirectory) -> dict[str, Any]:
    """Reads a run's files.

    Raises:
        ValueError: if one of them is damaged, or the config has a field that there is none of.
    """
    try:
        config = flat_fields(directory.read_config() or {})
    except ConfigError as error:
        raise ConfigError(f"{directory.config}: {error}") from error
    metrics, bad = metric_rows(directory.metrics) if directory.metrics.exists() else ([], [])
    if bad:
        warn(
            f"{directory.metrics}: {len(bad)} lines are not the metrics of a step and are left "
            f"out, the first of them line {bad[0]}"
        )
    metrics = [{"stage": "training", **row} for row in metrics]
    metrics = [{name: x for name, x in row.items() if x is not None} for row in metrics]
    return {
        "run_dir": str(directory.path),
        "config": config,
        "seed": config.get("seed"),
        "metrics": metrics,
        "steps": max((row["step"] for row in metrics), default=0),
        "evaluations": evaluations_in(directory.evaluations, warn),
    }


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The fields in which experiments differ."""
    names = sorted({name for config in configs for name in config})
    names = [name for name in names if name.split(".")[0] not in SETTINGS]
    return [name for name in names if len({json.dumps(config.get(name)) for config in configs}) > 1]


def compare(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """One row for each group, policy, strategy, verifier and budget.

    `accuracy` is the mean over training seeds, of each the mean over its evaluation seeds. `ci95`
    is the interval over the problems, which all seeds share; `lowest` and `highest` are the range
    over training seeds.
    """
    kinds = ("benchmark", "policy", "strategy", "verifier", "oracle", "budget")
    cells: dict[tuple, dict[str, list[Row]]] = {}
    for run in runs:
        for row in run["evaluations"]:
            key = (run["group"], *(row[kind] for kind in kinds))
            cells.setdefault(key, collections.defaultdict(list))[run["run_dir"]].append(row)
    result = []
    for (group, *kind), trainings in cells.items():
        means = [float(np.mean([row["accuracy"] for row in rows])) for rows in trainings.values()]
        every = [row for rows in trainings.values() for row in rows]
        problems = min(row["problems"] for row in every)
        accuracy = float(np.mean(means))
        result.append(
            {
                "group": group,
                **dict(zip(kinds, kind, strict=True)),
                "training_seeds": len(means),
                "accuracy": accuracy,
                "lowest": min(means),
                "highest": max(means),
                "ci95": list(wilson_interval(accuracy * problems, problems)),
                "problems": problems,
                **{cost: float(np.mean([row[cost] for row in every])) for cost in COSTS},
            }
        )
    return result

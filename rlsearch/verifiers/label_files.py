"""Labels on disk: a folder of parts, and a file that says what they are of.

    labels.json    what made them, of which task, and how many parts there are once it is done
    000000.npz     `StepLabels`, plain arrays; pickled objects are never read

A part is written in one go, so that a folder whose making was cut off has whole parts alone.
"""

import dataclasses
import io
import json
import os
import zipfile
from typing import Any

import jax
import numpy as np
from etils import epath

from rlsearch.config import TaskConfig
from rlsearch.tasks.base import Task
from rlsearch.verifiers.labels import StepLabels

MAX_BYTES = 2**31  # of a part's arrays: more is refused before it is read
_SHAPES = {"prompts": "P", "solutions": "T", "values": "S", "weights": "S", "generations": ""}


def describe_task(config: TaskConfig, task: Task) -> dict[str, Any]:
    """What labels must have in common with a task: its problems, their split, and its words."""
    fields = dataclasses.asdict(config) | {"data_dir": ""}
    return {"task": fields, "words": list(task.tokenizer.index)}


def part_path(folder: epath.Path, number: int) -> epath.Path:
    """The file of a part."""
    return folder / f"{number:06d}.npz"


def write_part(path: epath.Path, labels: StepLabels) -> None:
    """Writes a part in one go."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(x) for name, x in labels._asdict().items()}
    np.savez(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    temporary.write_bytes(content.getvalue())
    temporary.replace(path)


def read_part(path: epath.Path, task: Task) -> StepLabels:
    """Reads a part.

    Raises:
        ValueError: if it is damaged, or holds anything but labels of such a task.
    """
    lengths = {"P": task.prompt_length, "T": task.solution_length, "S": task.num_steps}
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found: dict[str, Any] = {name: arrays[name] for name in _SHAPES}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    number = len(found["generations"])
    for name, axes in _SHAPES.items():
        expected = (number, *(lengths[axis] for axis in axes))
        whole = name in ("prompts", "solutions", "generations")
        kind = np.dtype(np.int32 if whole else np.float32)
        if found[name].shape != expected or found[name].dtype != kind:
            raise ValueError(
                f"{path} is no part of labels: {name} is {found[name].dtype} {found[name].shape}, "
                f"and {kind} {expected} is expected"
            )
    tokens = np.concatenate([found["prompts"], found["solutions"]], axis=1)
    shares = np.stack([found["values"], found["weights"]])
    inside = not tokens.size or (tokens.min() >= 0 and tokens.max() < task.vocab_size)
    if not (inside and np.isfinite(shares).all() and (shares >= 0).all() and (shares <= 1).all()):
        raise ValueError(f"{path} is no part of labels: a token, value or weight is out of range")
    return StepLabels(**found)


def read_about(folder: epath.PathLike) -> dict[str, Any] | None:
    """What labels.json says; None where there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = epath.Path(folder) / "labels.json"
    if not path.exists():
        return None
    try:
        about = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is not valid JSON ({error})") from error
    if not isinstance(about, dict):
        raise ValueError(f"{path} is damaged: it must be a JSON object")
    return about


def read_labels(folder: epath.PathLike, config: TaskConfig, task: Task) -> StepLabels:
    """All labels of a folder.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are not all made yet, damaged, or of another task.
    """
    about, folder = read_about(folder), epath.Path(folder)
    if about is None:
        raise FileNotFoundError(f"labels are {str(folder)!r}: there is no labels.json in it")
    expected = describe_task(config, task)
    for name, value in expected.items():
        if about.get(name) != value:
            was, now = about.get("task", {}), expected["task"]
            fields = [f for f in now if not isinstance(was, dict) or was.get(f) != now[f]]
            what = ", ".join(f"task.{field}" for field in fields) or "tokenizer"
            raise ValueError(
                f"labels are {str(folder)!r}: they are of another task, which has another {what}"
            )
    parts = about.get("parts")
    if not isinstance(parts, int) or parts < 1:
        raise ValueError(
            f"labels are {str(folder)!r}: they are not all made yet; give the command that makes "
            "them again"
        )
    each = [read_part(part_path(folder, number), task) for number in range(parts)]
    return jax.tree.map(lambda *x: np.concatenate(x), *each)

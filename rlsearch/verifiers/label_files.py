"""Labels on disk: a folder of parts, and a file that says what they are of.

    labels.json    what made them, of which task, and how many there are once it is done
    000000.npz     `StepLabels`, plain arrays; pickled objects are never read

A part is written in one go, so that a folder whose making was cut off has whole parts alone. All
parts but the last have the same number of solutions, so that a process finds those it needs without
a look at the others.
"""

import hashlib
import io
import json
import math
import os
import struct
import tokenize
import zipfile
from typing import Any

import jax
import numpy as np
from etils import epath

from rlsearch.classes import class_name
from rlsearch.config_data import to_data
from rlsearch.files import read_bytes, read_json
from rlsearch.tasks.base import Task
from rlsearch.text import shortened
from rlsearch.verifiers.labels import StepLabels

MAX_BYTES = 2**31  # of a part's arrays: more is refused before it is read
MAX_ABOUT = 2**24  # bytes of a labels.json, which once had all words of a task
MAX_SOLUTIONS = 2**26  # of a folder
_MAX_HEADERS = 2**16  # bytes of a part beside its arrays


def describe_task(config: Any, task: Task) -> dict[str, Any]:
    """Describes the problems, their split and the tokenizer that labels share with a task.

    Args:
        config: the task as a config has it, without what stands in front of its problems.
    """
    fields = {"cls": class_name(config), **to_data(config)}
    if "data_dir" in fields:
        fields["data_dir"] = ""
    return {"task": fields, "tokenizer": _fingerprint(list(task.tokenizer.index))}


def _fingerprint(words: list[Any]) -> str:
    """The SHA-256 of the words of a tokenizer, in the order of their tokens."""
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _differs(was: Any, now: Any) -> bool:
    """Tells whether labels of the task `was` cannot be those of `now`; old folders have more
    fields."""
    if isinstance(now, dict):
        return not isinstance(was, dict) or any(was.get(f, v) != v for f, v in now.items())
    return was != now


def abstract_labels(number: int, task: Task) -> StepLabels:
    """Shapes and dtypes of labels of `number` solutions of `task`."""

    def array(kind: Any, *axes: int) -> Any:
        return jax.ShapeDtypeStruct((number, *axes), kind)

    steps = array(np.float32, task.num_steps)
    return StepLabels(
        prompts=array(np.int32, task.prompt_length),
        solutions=array(np.int32, task.solution_length),
        values=steps,
        weights=steps,
        generations=array(np.int32),
    )


def part_path(folder: epath.Path, number: int) -> epath.Path:
    """The file of a part."""
    return folder / f"{number:06d}.npz"


def write_part(path: epath.Path, labels: StepLabels) -> None:
    """Writes a part in one go."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(x) for name, x in labels._asdict().items()}
    np.savez(content, **arrays)
    _write(path, content.getvalue())


def write_about(folder: epath.Path, about: dict[str, Any]) -> None:
    """Writes labels.json in one go."""
    text = json.dumps(about, indent=2, allow_nan=False) + "\n"
    _write(folder / "labels.json", text.encode())


def _write(path: epath.Path, content: bytes) -> None:
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(content)
    temporary.replace(path)


def read_part(path: epath.Path, task: Task, number: int | None = None) -> StepLabels:
    """Reads a part.

    Args:
        number: the most solutions that it may have, where that is known.

    Raises:
        ValueError: if it is damaged, or holds anything but labels of such a task.
    """
    limit = MAX_BYTES if number is None else min(MAX_BYTES, _num_bytes(number, task))
    content = read_bytes(path, limit + _MAX_HEADERS, "a part of labels")
    try:
        found = _arrays(content)
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged: {shortened(str(error))}") from error
    number = found["generations"].size
    for name, expected in abstract_labels(number, task)._asdict().items():
        if found[name].shape != expected.shape or found[name].dtype != expected.dtype:
            raise ValueError(
                f"{path} is no part of labels: {name} is {str(found[name].dtype)[:80]} "
                f"{found[name].shape}, and {expected.dtype} {expected.shape} is expected"
            )
    return _checked(path, StepLabels(**found), task)


def _num_bytes(number: int, task: Task) -> int:
    """Counts the bytes of the arrays of labels of `number` solutions."""
    return sum(x.dtype.itemsize * x.size for x in abstract_labels(number, task))


_DAMAGE = (  # what `zipfile` and numpy raise at bytes that are not what they say
    *(OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, RuntimeError, OverflowError),
    *(MemoryError, zipfile.BadZipFile, struct.error, tokenize.TokenError),
)


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a part, none of which takes more memory than the bytes that are there."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in StepLabels._fields:
            member = archive.getinfo(f"{name}.npy")
            # Packed, a few bytes might say that they are billions. `write_part` packs nothing.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(content):
                raise ValueError(f"{name} is packed")
            array = io.BytesIO(archive.read(member))
            major, _ = np.lib.format.read_magic(array)
            if major != 1:
                raise ValueError(f"{name} is of version {major} of its format, and not 1")
            shape, in_columns, dtype = np.lib.format.read_array_header_1_0(array)
            data = array.read()
            if dtype.hasobject:
                raise ValueError(f"{name} has pickled objects, and allow_pickle=False")
            if dtype.itemsize * math.prod(shape) != len(data):
                raise ValueError(f"{name} has not the size that it says")
            order = "F" if in_columns else "C"
            found[name] = np.ndarray(shape, dtype, data, order=order)
    return found


def _checked(path: epath.Path, found: StepLabels, task: Task) -> StepLabels:
    tokens = np.concatenate([found.prompts, found.solutions], axis=1)
    shares = np.stack([found.values, found.weights])
    least = min(0, task.pad)  # padding may be no token
    inside = not tokens.size or (tokens.min() >= least and tokens.max() < task.vocab_size)
    if not (inside and np.isfinite(shares).all() and (shares >= 0).all() and (shares <= 1).all()):
        raise ValueError(f"{path} is no part of labels: a token, value or weight is out of range")
    return found


def read_about(folder: epath.PathLike) -> dict[str, Any] | None:
    """Reads labels.json; None where there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = epath.Path(folder) / "labels.json"
    if not path.exists():
        return None
    about = read_json(path, MAX_ABOUT, "a description of labels")
    if not isinstance(about, dict):
        raise ValueError(f"{path} is damaged: it must be a JSON object")
    words = about.pop("words", None)  # of folders made before, which have them all
    if isinstance(words, list):
        about.setdefault("tokenizer", _fingerprint(words))
    return about


class LabelFolder:
    """The labels of a folder, of which some can be read without the others.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are not all made yet, or of another task.
    """

    def __init__(self, folder: epath.PathLike, config: Any, task: Task):
        self.folder, self.task = epath.Path(folder), task
        about, said = read_about(folder), f"labels are {shortened(str(folder))}:"
        if about is None:
            raise FileNotFoundError(f"{said} there is no labels.json in it")
        expected = describe_task(config, task)
        for name, value in expected.items():
            if _differs(about.get(name), value):
                was, now = about.get("task", {}), expected["task"]
                fields = [f for f, v in now.items() if _differs(was, {f: v})]
                what = ", ".join(f"task.{field}" for field in fields) or "tokenizer"
                raise ValueError(f"{said} they are of another task, which has another {what}")
        if "parts" not in about:
            raise ValueError(
                f"{said} they are not all made yet; give the command that makes them again"
            )
        for name in ("solutions", "solutions_of_a_part"):
            if type(about.get(name)) is not int or not 1 <= about[name] <= MAX_SOLUTIONS:
                raise ValueError(
                    f"{said} in labels.json, {name} is {shortened(about.get(name))}: it must be a "
                    f"whole number from 1 to {MAX_SOLUTIONS}"
                )
        self.solutions: int = about["solutions"]
        self.solutions_of_a_part: int = about["solutions_of_a_part"]
        # Room is made for so many solutions, and other stages run, before these are read. Of
        # several processes each may have the parts of its own share alone.
        if jax.process_count() == 1:
            for number in {0, (self.solutions - 1) // self.solutions_of_a_part}:
                self._read(number)

    def take(self, rows: np.ndarray) -> StepLabels:
        """The labels of the solutions `rows [N]`, on the host; only parts with one are read.

        Raises:
            FileNotFoundError: if such a part is not there.
            ValueError: if it is damaged.
        """
        taken = jax.tree.map(
            lambda x: np.empty(x.shape, x.dtype), abstract_labels(len(rows), self.task)
        )
        parts = rows // self.solutions_of_a_part
        for number in np.unique(parts):
            there, first = parts == number, number * self.solutions_of_a_part
            part = self._read(int(number))
            for to, found in zip(taken, part, strict=True):
                to[there] = found[rows[there] - first]
        return taken

    def all(self) -> StepLabels:
        """The labels of all solutions, on the host. Raises: see `take`."""
        return self.take(np.arange(self.solutions))

    def _size_of(self, number: int) -> int:
        """The solutions of a part."""
        return min(self.solutions_of_a_part, self.solutions - number * self.solutions_of_a_part)

    def _read(self, number: int) -> StepLabels:
        path, solutions = part_path(self.folder, number), self._size_of(number)
        part = read_part(path, self.task, solutions)
        if len(part.prompts) != solutions:
            raise ValueError(
                f"{path} is damaged: it has {len(part.prompts)} solutions, and labels.json says "
                f"{solutions}"
            )
        return part

"""Experiments from Python files and from the command line; resuming compares them."""

import importlib.util
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlsearch.classes import nearest
from rlsearch.config import Experiment
from rlsearch.config_data import ConfigError, from_data, leaves, replaced, to_data
from rlsearch.files import size_of
from rlsearch.text import shortened

MAX_CODE = 2**24  # bytes of a user's file
FREE_WHEN_RESUMING = (
    *("name", "evaluation", "parallel", "log", "profile"),
    *("task.data_dir", "model.folder", "model.remat"),
)
# The last part of a path that is free wherever it stands, such as `self_play.play.num_simulations`.
FREE_GROUPS = ("play",)


def load(name_or_path: str) -> Experiment:
    """Runs a config file and returns its `config`.

    Args:
        name_or_path: path to a Python file, or the name of one in `configs/`, which is looked for
            in the current directory and beside the package.

    Raises:
        ConfigError: there is no such file, it does not run, or its `config` is no experiment with
            fields of the declared types.
    """
    path = _find(name_or_path)
    _check_size(path)
    try:
        config = runpy.run_path(str(path)).get("config")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file may raise is a fault of that file
        raise ConfigError(f"{path} does not run: {_said(error)}") from error
    if not isinstance(config, Experiment):
        got = "no `config`" if config is None else f"a `config` of type {type(config).__name__}"
        raise ConfigError(f"{path} defines {got}: it must define `config`, an Experiment")
    try:
        return with_types(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def with_types(config: Experiment) -> Experiment:
    """The config with lists made tuples, and whole numbers made floats, where these are declared.

    Raises:
        ConfigError: a field holds another type than the declared one.
    """
    return from_data(Experiment, to_data(config), own_modules(config))


def own_modules(config: Experiment) -> tuple[str, ...]:
    """The top-level modules whose classes a config names, the package's own apart."""
    tops = {name.partition(":")[0].partition(".")[0] for name in _classes(to_data(config))}
    return tuple(sorted(tops - {"rlsearch"}))


def _classes(data: Any) -> Iterator[str]:
    """The classes that data names, at any depth."""
    if isinstance(data, dict):
        yield from [data["cls"]] if "cls" in data else []
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for value in inside:
        yield from _classes(value)


def load_code(path: str) -> str:
    """Imports a user's Python file under its own name, so that `module:Class` finds what is in it.

    Returns:
        The module's name.

    Raises:
        ConfigError: there is no such file, its name is that of another module, or it does not run.
    """
    file = Path(path).resolve()
    name = file.stem
    if file.suffix != ".py" or not name.isidentifier() or not file.is_file():
        raise ConfigError(
            f"--code is {shortened(path)}: it must be a Python file, such as my_tasks.py"
        )
    _check_size(file)
    other = importlib.util.find_spec(name)
    if other is not None and other.origin != str(file):
        raise ConfigError(
            f"--code is {shortened(path)}: {name!r} is another module's name; rename the file"
        )
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # whatever a user's file may raise is a fault of that file
        sys.modules.pop(name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ConfigError(f"{path} does not run: {_said(error)}") from error
    return name


def _check_size(path: Path) -> None:
    """Raises ConfigError for a file that is too large to be a program: Python reads it whole."""
    if size_of(path, "a Python file") > MAX_CODE:
        raise ConfigError(
            f"{shortened(str(path))} is too large for a Python file: it must have at most "
            f"{MAX_CODE} bytes"
        )


def _said(error: BaseException) -> str:
    """The error that a user's file raised, on one line."""
    if isinstance(error, SystemExit):
        return "it ends Python (SystemExit), and must only define what is read from it"
    try:
        text = " ".join(str(error).split())
    except Exception:  # the file's own class may fail in this too
        text = ""
    # Of a ValueError, such as a config's own, the message alone says all.
    kind = "" if isinstance(error, ValueError) and text else type(error).__name__
    return ": ".join(part for part in (kind, text) if part)


def override(config: Experiment, arguments: list[str]) -> Experiment:
    """Sets fields by their paths.

    Args:
        config: left as it is.
        arguments: such as `["--distilled.search.policy", "puct", "--accuracy.budgets", "1", "4"]`;
            `--path=value` is the same as `--path value`, and of a field set twice the last counts.

    Raises:
        ConfigError: an unknown field, a value of the wrong type, or one that the field refuses.
    """
    return replaced(config, _pairs(arguments))


def check_resumable(saved: Experiment, new: Experiment, begun: int) -> list[str]:
    """Compares the config of a run with that with which it is resumed.

    Args:
        begun: the number of stages that have begun. Stages not begun may differ as they like.

    Returns:
        Paths of the fields that differ; the caller records them.

    Raises:
        ConfigError: a field differs that decides the result of what is trained already.
    """
    before, after = (leaves(config) for config in (saved, new))
    missing = "nothing"
    paths = dict.fromkeys((*before, *after))
    changed = [p for p in paths if before.get(p, missing) != after.get(p, missing)]
    open_stages = {stage.name for stage in (*saved.stages[begun:], *new.stages[begun:])}
    same = [stage.name for stage in saved.stages[:begun]] == [s.name for s in new.stages[:begun]]
    refused = [path for path in changed if not _is_free(path, saved, new, open_stages)]
    if refused or not same:
        each = ", ".join(
            f"{path} ({shortened(before.get(path, missing))} there, "
            f"{shortened(after.get(path, missing))} now)"
            for path in refused
        )
        raise ConfigError(
            f"the run has another config, in {each or 'its stages'}: only "
            f"{', '.join(FREE_WHEN_RESUMING)} and the stages not begun may differ when a run is "
            "resumed, so start this one with another --run-dir"
        )
    return changed


def _is_free(path: str, saved: Experiment, new: Experiment, open_stages: set[str]) -> bool:
    head, _, rest = path.partition(".")
    stages = {stage.name for config in (saved, new) for stage in config.stages}
    if head in stages:
        return head in open_stages or rest.partition(".")[0] in FREE_GROUPS or rest == "model.remat"
    studies = head not in {field for field in vars(new)}
    return studies or any(
        path == free or path.startswith(f"{free}.") for free in FREE_WHEN_RESUMING
    )


def _find(name_or_path: str) -> Path:
    folders = [Path("configs"), Path(__file__).resolve().parents[1] / "configs"]
    named = [folder / f"{name_or_path.removesuffix('.py')}.py" for folder in folders]
    for path in (Path(name_or_path), *named):
        if path.is_file():
            return path
    names = sorted({path.stem for folder in folders for path in folder.glob("*.py")})
    close = nearest(Path(name_or_path).stem, names)
    raise ConfigError(
        f"there is no config {shortened(name_or_path)}: it must be a Python file, or one of "
        f"configs/, which holds {', '.join(names) or 'none'}"
        + (f"; the nearest is {close}" * bool(close))
    )


def _pairs(arguments: list[str]) -> list[tuple[str, list[str]]]:
    """(path, texts of its values) of each `--path`."""
    pairs: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if argument.startswith("--"):
            path, equals, text = argument[2:].partition("=")
            pairs.append((path.replace("-", "_"), [text] if equals else []))
        elif pairs:
            pairs[-1][1].append(argument)
        else:
            raise ConfigError(
                f"{shortened(argument)} stands before any field: write --field.path value"
            )
    return pairs

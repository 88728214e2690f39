"""Experiments from files, from the command line and from a run's `config.json`.

Values reach an `Experiment` on three ways (a Python file, `--field.path value`, JSON) and all of
them pass `_replace`, which checks field names and types; the dataclasses check the values.
"""

import dataclasses
import difflib
import importlib.util
import runpy
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlsearch.config import Experiment, SelfPlayExperiment

AnyExperiment = Experiment | SelfPlayExperiment

_FREE_WHEN_RESUMING = (
    *("name", "evaluation", "play", "parallel", "log", "profile", "task.data_dir"),
    "model.remat",
)
_VALID = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
_PLURAL = {int: "whole numbers", float: "finite numbers", bool: "true or false", str: "texts"}


class ConfigError(ValueError):
    """A config, or another thing that the user wrote, is wrong; the message is one sentence."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that looks most like `name`, or None where none does."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return found[0] if found else None


def field_types(cls: type, prefix: str = "") -> dict[str, Any]:
    """The type of every field that holds a value, by its dotted path."""
    types = {}
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            types |= field_types(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            types[prefix + name] = hint
    return types


def all_field_types() -> dict[str, Any]:
    """The fields of every kind of experiment: which kind it is, only its config file knows."""
    return field_types(Experiment) | field_types(SelfPlayExperiment)


def is_several(hint: Any) -> bool:
    """Whether a field of this type takes several values."""
    return typing.get_origin(hint) is tuple


def load(name_or_path: str) -> AnyExperiment:
    """Runs a config file and returns its `config`.

    Args:
        name_or_path: path to a Python file, or the name of one in `configs/`, which is looked for
            in the current directory and beside the package.

    Raises:
        ConfigError: there is no such file, it does not run, or its `config` is no
            experiment with fields of the declared types.
    """
    path = _find(name_or_path)
    try:
        config = runpy.run_path(str(path)).get("config")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file may raise is a fault of that file
        raise ConfigError(f"{path} does not run: {_said(error)}") from error
    if not isinstance(config, AnyExperiment):
        got = "no `config`" if config is None else f"a `config` of type {type(config).__name__}"
        valid = "`config`, an Experiment or a SelfPlayExperiment"
        raise ConfigError(f"{path} defines {got}: it must define {valid}")
    try:
        return from_dict(to_dict(config))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


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
        raise ConfigError(f"--code is {path!r}: it must be a Python file, such as my_tasks.py")
    other = importlib.util.find_spec(name)
    if other is not None and other.origin != str(file):
        raise ConfigError(f"--code is {path!r}: {name!r} is another module's name; rename the file")
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


def _said(error: BaseException) -> str:
    """What a user's file raised, on one line."""
    if isinstance(error, SystemExit):
        return "it ends Python (SystemExit), and must only define what is read from it"
    try:
        text = " ".join(str(error).split())
    except Exception:  # the file's own class may fail in this too
        text = ""
    # Of a ValueError, such as a config's own, the message alone says all.
    kind = "" if isinstance(error, ValueError) and text else type(error).__name__
    return ": ".join(part for part in (kind, text) if part)


def override(config: AnyExperiment, arguments: list[str]) -> Any:
    """Sets fields by their paths.

    Args:
        config: what is changed; it is left as it is.
        arguments: such as `["--search.policy", "puct", "--evaluation.budgets", "1", "4"]`;
            `--path=value` is the same as `--path value`, and of a field set twice the last counts.

    Raises:
        ConfigError: an unknown field, a value of the wrong type, or one that the field refuses.
    """
    types = field_types(type(config))
    changes: dict[str, Any] = {}
    for path, texts in _pairs(arguments):
        if path not in types:
            raise ConfigError(_unknown(types, f"--{path}", f" = {' '.join(texts)}", path))
        hint = types[path]
        *groups, name = path.split(".")
        place = changes
        for group in groups:
            place = place.setdefault(group, {})
        if is_several(hint):
            if not texts:
                raise ConfigError(f"{path} got no value: it must be {_valid(hint)}")
            place[name] = [_parse(text, typing.get_args(hint)[0]) for text in texts]
        elif len(texts) == 1:
            place[name] = _parse(texts[0], hint)
        else:
            got = f"{len(texts)} values, {' '.join(texts)}" if texts else "no value"
            raise ConfigError(f"{path} got {got}: it must be one value, {_valid(hint)}")
    return _replace(config, changes)


def to_dict(config: Any) -> dict[str, Any]:
    """`config` as dictionaries, lists, text, numbers and booleans, as JSON has them."""
    data = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        data[field.name] = list(value) if isinstance(value, tuple) else value
    return data


def from_dict(data: Mapping[str, Any]) -> Any:
    """The inverse of `to_dict`. Nothing is executed; a field that is left out has its default.

    `kind` says which kind of experiment it is, by default one of language.

    Raises:
        ConfigError: an unknown field, a value of the wrong type, or one that the field refuses.
    """
    kinds = {config.kind: config for config in (Experiment(), SelfPlayExperiment())}
    kind = data.get("kind", "language") if isinstance(data, Mapping) else "language"
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"kind is {kind!r}: it must be one of {', '.join(kinds)}")
    return _replace(kinds[kind], data)


def check_resumable(
    saved: AnyExperiment, new: AnyExperiment, same_stages: bool = False
) -> list[str]:
    """Paths of the fields in which a resumed run differs; the caller records them.

    Only what cannot change the result of what is trained already may differ.

    Args:
        same_stages: whether all stages that have begun are as long in both. Then the number of
            steps may differ, else not: the learning rate's schedule ends with a stage's last step.

    Raises:
        ConfigError: another field differs.
    """
    if saved.kind != new.kind:
        raise ConfigError(f"the run is one of {saved.kind}, not {new.kind}: use another --run-dir")
    before, after = _leaves(saved), _leaves(new)
    changed = [path for path in after if before[path] != after[path]]
    refused = [path for path in changed if not _is_free(path)]
    if same_stages:
        refused = [path for path in refused if path.rpartition(".")[2] != "num_steps"]
    if refused:
        each = ", ".join(
            f"{path} ({before[path]!r} there, {after[path]!r} now)" for path in refused
        )
        raise ConfigError(
            f"the run has another config, in {each}: only {', '.join(_FREE_WHEN_RESUMING)} and "
            "the num_steps of stages not begun may differ when a run is resumed, so start this "
            "one with another --run-dir"
        )
    return changed


def _is_free(path: str) -> bool:
    return any(path == free or path.startswith(f"{free}.") for free in _FREE_WHEN_RESUMING)


def _find(name_or_path: str) -> Path:
    folders = [Path("configs"), Path(__file__).resolve().parents[1] / "configs"]
    named = [folder / f"{name_or_path.removesuffix('.py')}.py" for folder in folders]
    for path in (Path(name_or_path), *named):
        if path.is_file():
            return path
    names = sorted({path.stem for folder in folders for path in folder.glob("*.py")})
    close = nearest(Path(name_or_path).stem, names)
    raise ConfigError(
        f"there is no config {name_or_path!r}: it must be a Python file, or one of configs/, "
        f"which holds {', '.join(names) or 'none'}" + (f"; the nearest is {close}" * bool(close))
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
            raise ConfigError(f"{argument!r} stands before any field: write --field.path value")
    return pairs


def _parse(text: str, kind: type) -> Any:
    """`text` as a `kind`, or as it is where it is none, for `_checked` to say so."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text


def _replace(base: Any, changes: Any, prefix: str = "", root: type | None = None) -> Any:
    """`base` with `changes`, dictionaries by group; each group's own check sees them together."""
    if not isinstance(changes, Mapping):
        group = prefix.removesuffix(".") or "the config"
        raise ConfigError(f"{group} is {changes!r}: it must be a group of fields")
    hints = typing.get_type_hints(type(base))
    values = {}
    for name, value in changes.items():
        path = f"{prefix}{name}"
        if name not in hints:
            types = field_types(root or type(base))
            raise ConfigError(_unknown(types, path, f" = {value!r}", path))
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _replace(getattr(base, name), value, f"{path}.", root or type(base))
        else:
            values[name] = _checked(value, hints[name], path)
    try:
        return dataclasses.replace(base, **values)
    except ValueError as error:
        # The user knows the field by its path, not by the class that checks it.
        raise ConfigError(str(error).replace(f"{type(base).__name__}.", prefix, 1)) from error


def _checked(value: Any, hint: Any, path: str) -> Any:
    if is_several(hint):
        kind = typing.get_args(hint)[0]
        if isinstance(value, list | tuple) and all(_is_a(item, kind) for item in value):
            return tuple(kind(item) for item in value)
    elif _is_a(value, hint):
        return hint(value)
    raise ConfigError(f"{path} is {value!r}: it must be {_valid(hint)}")


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    if kind is float:  # the comparison is false of infinities and of what is not a number
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _valid(hint: Any) -> str:
    return f"a list of {_PLURAL[typing.get_args(hint)[0]]}" if is_several(hint) else _VALID[hint]


def _unknown(types: dict[str, Any], shown: str, value: str, path: str) -> str:
    """The sentence about a path that is no field: what it got, what is near it, what there is."""
    if inside := [name for name in types if name.startswith(f"{path}.")]:
        return f"{shown}{value} is a group of fields: set one of them, {', '.join(inside)}"
    # A field's own name, or nearly, without the right group before it is the likeliest slip.
    last = nearest(path.split(".")[-1], {name.split(".")[-1] for name in types})
    close = nearest(path, types) or next((n for n in types if n.split(".")[-1] == last), None)
    group = path.rpartition(".")[0]
    valid = [name for name in types if name.rpartition(".")[0] == group]
    if not group or not valid:
        valid = list(dict.fromkeys(name.split(".")[0] for name in types))
    hint = f"the nearest is {close}; " if close else ""
    return f"{shown}{value} is no field: {hint}valid are {', '.join(valid)}"


def _leaves(config: AnyExperiment) -> dict[str, Any]:
    leaves = {}
    for path in field_types(type(config)):
        value: Any = config
        for name in path.split("."):
            value = getattr(value, name)
        leaves[path] = value
    return leaves

"""Experiments as data: for `config.json`, and from the command line.

A value is a frozen dataclass. As data it is a dictionary of its fields; where the field that holds
it may hold several classes (see `config.Kind`), "cls" names the class as `module:Class`. Nothing
is executed but the classes' own checks: a class is built only if the module that is named defines
it and if it is of the kind expected.
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rlsearch.classes import class_name, classes_of, find_class, nearest, short_name
from rlsearch.config import Kind
from rlsearch.text import shortened

_VALID = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
_PLURAL = {int: "whole numbers", float: "finite numbers", bool: "true or false", str: "texts"}
MAX_ITEMS = 1000  # of a list of values
# The last names of the fields that take several values: what a command line needs to know of them
# before it has read which config they are of.
SEVERAL = (
    "budgets",
    "evaluation",
    "learnt",
    "options",
    "policies",
    "seeds",
    "sequential",
    "stages",
    "steps",
    "strategies",
    "targets",
    "verifiers",
)


# The largest number that a field of a name takes, wherever it stands; all others have `MOST`. A
# hostile or mistyped number is refused before anything is made of it.
LARGEST = {
    **dict.fromkeys(("num_layers", "num_blocks"), 1_000),
    **dict.fromkeys(("num_heads", "num_kv_heads", "head_dim", "squeeze_excite"), 4_096),
    **dict.fromkeys(("embed_dim", "channels", "value_dim"), 65_536),
    **dict.fromkeys(("mlp_dim", "num_candidates", "num_simulations"), 1_048_576),
    **dict.fromkeys(("budgets", "sequential", "children", "expansions", "lookahead"), 65_536),
    **dict.fromkeys(("num_games", "num_problems", "num_solutions", "batch_size"), 16_777_216),
    **dict.fromkeys(("num_samples", "num_targets", "critic_samples", "traces"), 65_536),
    **dict.fromkeys(("moves_per_step", "reanalysed", "updates_per_step"), 1_048_576),
    **dict.fromkeys(("replica", "data", "model", "accumulate"), 1_048_576),
    **dict.fromkeys(("seed", "seeds", "split_seed"), 2**63 - 1),
}
MOST = 2**31 - 1  # of any other whole number
MOST_REAL = 1e12  # of any other number


class ConfigError(ValueError):
    """A config, or another thing that the user wrote, is wrong; the message is one sentence."""


# ---- Values to data and back -------------------------------------------------------------------


def to_data(value: Any) -> Any:
    """`value` as dictionaries, lists, text, numbers and booleans, as JSON has them."""
    if not dataclasses.is_dataclass(value):
        return [to_data(item) for item in value] if isinstance(value, tuple) else value
    data: dict[str, Any] = {}
    for name, hint in _hints(type(value)).items():
        held = getattr(value, name)
        data[name] = _with_class(held, hint)
    return data


def _with_class(held: Any, hint: Any) -> Any:
    item = _item(hint)
    if item is not None and isinstance(held, tuple | list):
        return [_with_class(each, item) for each in held]
    return {"cls": class_name(held), **to_data(held)} if _named_in(held, hint) else to_data(held)


def _named_in(held: Any, hint: Any) -> bool:
    """Tells whether data says the class of a value: where a field may hold several, and it is not
    the first of a few."""
    several = _kind(hint) is not None or type(held) in _choices(hint)[1:]
    return several and dataclasses.is_dataclass(held)


def from_data(cls: type, data: Any, modules: tuple[str, ...] = (), path: str = "") -> Any:
    """The inverse of `to_data`: a value of `cls`. A field that is left out has its default, which
    is that of the group of fields where a group is there in part.

    Args:
        modules: see `find_class`.
        path: of the value, for messages.

    Raises:
        ConfigError: an unknown field or class, a value of the wrong type, or one that is refused.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{path or 'the config'} is {shortened(data)}: it must be a group of fields"
        )
    hints = _hints(cls)
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    values = {}
    for name, value in data.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in hints:
            raise ConfigError(unknown(str(name), hints, where, f" = {shortened(value)}"))
        group = type(defaults[name]) is hints[name] and isinstance(value, Mapping)
        if group and dataclasses.is_dataclass(hints[name]):
            value = to_data(defaults[name]) | dict(value)
        values[name] = _read(value, hints[name], modules, where)
    return build(cls, values, path)


def build(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """A value of `cls`; an error of its own check names the field by its path."""
    for field in dataclasses.fields(cls):
        given = field.name in values or not field.init
        if not given and field.default is field.default_factory is dataclasses.MISSING:
            where = f"{path}.{field.name}" if path else field.name
            raise ConfigError(f"{where} is not set: {short_name(cls)} needs it")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(_by_path(str(error), cls, path)) from error
    except TypeError as error:
        made = f"{cls.__module__}:{cls.__qualname__} cannot be made with {', '.join(values)}"
        raise ConfigError(f"{path}.cls: {made}: {error}") from error


def _by_path(message: str, cls: type, path: str) -> str:
    return message.replace(f"{cls.__name__}.", f"{path}." if path else "", 1)


def _read(value: Any, hint: Any, modules: tuple[str, ...], path: str) -> Any:
    choices = _choices(hint)
    hint, optional = _required(hint)
    if optional and value is None:
        return None
    if choices and isinstance(value, Mapping) and "cls" in value:
        hint, value = _among(choices, value, path), {k: v for k, v in value.items() if k != "cls"}
    item = _item(hint)
    if item is not None:
        if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
            raise ConfigError(f"{path} is {shortened(value)}: it must be {valid(hint)}")
        return tuple(_read(x, item, modules, f"{path}[{i}]") for i, x in enumerate(value))
    kind = _kind(hint)
    if kind is not None:
        if value is None:
            return None
        if not isinstance(value, Mapping) or "cls" not in value:
            raise ConfigError(f"{path} is {shortened(value)}: it must be {kind.noun}, with its cls")
        try:
            cls = find_class(f"{path}.cls", value["cls"], kind, modules=modules)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return from_data(cls, {k: v for k, v in value.items() if k != "cls"}, modules, path)
    if dataclasses.is_dataclass(hint):
        return from_data(typing.cast(type, hint), value, modules, path)
    if not is_a(value, hint):
        raise ConfigError(f"{path} is {shortened(value)}: it must be {valid(hint)}")
    return bounded(hint(value), path)


def _among(choices: tuple[Any, ...], data: Mapping[str, Any], path: str) -> Any:
    """The one of a few classes that data names."""
    names = {f"{cls.__module__}:{cls.__qualname__}": cls for cls in choices}
    if data["cls"] not in list(names):
        said = shortened(data["cls"])
        raise ConfigError(f"{path}.cls is {said}: it must be {' or '.join(names)}")
    return names[data["cls"]]


def bounded(value: Any, path: str) -> Any:
    """A plain value, unless it is a number beyond what its field takes.

    Raises:
        ConfigError: it is too large, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    name = path.rpartition(".")[2].partition("[")[0]
    most = LARGEST.get(name, MOST if isinstance(value, int) else MOST_REAL)
    least = 0 if name in ("seed", "seeds", "split_seed") else -most
    if not least <= value <= most:
        raise ConfigError(f"{path} is {shortened(value)}: it must be from {least:,} to {most:,}")
    return value


def is_a(value: Any, kind: Any) -> bool:
    """Tells whether data is of a plain type; a whole number is a number, a boolean is neither."""
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def valid(hint: Any) -> str:
    """The values that a field of a type takes, in words."""
    item = _item(hint)
    if item is None:
        return _VALID.get(hint, "a group of fields")
    kind = _kind(item)
    return f"a list of {_PLURAL.get(item, 'values') if kind is None else kind.noun}"


def unknown(name: str, hints: Iterable[str], path: str, value: str = "") -> str:
    """The sentence about a field that there is none of: its nearest one, and all there are."""
    close = nearest(name, hints)
    hint = f"the nearest is {close}; " if close else ""
    return f"{path[:200]}{value} is no field: {hint}valid are {', '.join(hints)}"


# ---- Fields by their paths ---------------------------------------------------------------------


class Setting(NamedTuple):
    """A field that a user sets."""

    path: str  # as it was typed, without the dashes
    parts: list[str]  # of the path, from the value on whose field it is
    texts: list[str]  # its values


def replaced(value: Any, settings: Iterable[tuple[str, list[str]]]) -> Any:
    """`value` with the fields at dotted paths set to what a user typed.

    A name in a path is a field; of a field that holds several values, one of them is named by its
    `name`, or by its class in lower case, without the field's own name: `distilled.num_steps`.
    All are set at once, so that fields which must fit together may change together; of a field set
    twice the last counts.

    Raises:
        ConfigError: no such field, a value of the wrong type, or one that the field refuses.
    """
    return _set(value, [Setting(path, path.split("."), texts) for path, texts in settings], "")


def _set(value: Any, settings: list[Setting], done: str) -> Any:
    """Sets fields of a value, whose own path is `done`."""
    hints = _hints(type(value))
    after = {name: getattr(value, name) for name in hints}
    inside: dict[str, list[Setting]] = {}
    for one in settings:  # which values are there is known before their fields are set
        name, *rest = one.parts
        if rest:
            inside.setdefault(name, []).append(one._replace(parts=rest))
        elif name in hints:
            after[name] = _parsed(value, name, hints[name], one.texts, one.path)
        else:
            raise _no_field(one, name, hints, after)
    for name, own in inside.items():
        items = {item_name(held): (field, index) for field, index, held in _named(hints, after)}
        if name in items:
            field, index = items[name]
            held = list(after[field])
            held[index] = _set(held[index], own, f"{done}{name}.")
            after[field] = tuple(held)
        elif name in hints:
            after[name] = _set_inside(after[name], _kind(hints[name]), own, f"{done}{name}")
        else:
            raise _no_field(own[0], name, hints, after)
    changes = {name: now for name, now in after.items() if now is not getattr(value, name)}
    return _rebuilt(value, changes, done)


def _set_inside(held: Any, kind: Kind | None, settings: list[Setting], path: str) -> Any:
    """Sets fields of the value that a field holds, behind its class where that is set too."""
    fields = []
    for one in settings:
        if kind is not None and one.parts == ["cls"]:
            held = _of_class(held, kind, one.texts, one.path)
        else:
            fields.append(one)
    if fields and not dataclasses.is_dataclass(held):
        raise ConfigError(f"--{fields[0].path} is no field: {path} has no fields")
    return _set(held, fields, f"{path}.")


def _no_field(one: Setting, name: str, hints: dict[str, Any], values: dict[str, Any]) -> Exception:
    """The error about a name that is no field, or is a whole group of them."""
    text = " ".join(one.texts)
    items = {item_name(held): held for _, _, held in _named(hints, values)}
    if name in items:
        return _is_group(one.path, text, items[name])
    return ConfigError(unknown(name, [*hints, *items], f"--{one.path}", f" = {text}"[:200]))


def _is_group(path: str, text: str, held: Any) -> ConfigError:
    inside = ", ".join(f"{path}.{field}" for field in _hints(type(held))) if held else "none"
    return ConfigError(f"--{path} = {text[:200]} is a group of fields: set one, {inside}")


def _of_class(held: Any, kind: Kind, texts: list[str], path: str) -> Any:
    """A value of the class that a user named, with the fields that it shares with `held`."""
    if len(texts) != 1:
        raise ConfigError(f"{path} got {len(texts)} values: it must be one, module:Class")
    cls = _named_class(path, texts[0], kind)
    shared = [name for name in _hints(cls) if name in _hints(type(held))] if held else []
    return build(cls, {name: getattr(held, name) for name in shared}, path.removesuffix(".cls"))


def _named_class(path: str, name: str, kind: Kind) -> Any:
    """The class that a user named as `module:Class`."""
    try:
        return find_class(path, name, kind)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _rebuilt(value: Any, changes: dict[str, Any], path: str) -> Any:
    try:
        return dataclasses.replace(value, **changes)
    except (ValueError, TypeError) as error:
        raise ConfigError(_by_path(str(error), type(value), path.removesuffix("."))) from error


def _parsed(value: Any, name: str, hint: Any, texts: list[str], path: str) -> Any:
    hint, _ = _required(hint)
    item = _item(hint)
    kind = _kind(item) if item is not None else _kind(hint)
    if kind is not None and item is not None:
        return _chosen(getattr(value, name), kind, texts, path)
    if dataclasses.is_dataclass(hint) or kind is not None:
        raise _is_group(path, " ".join(texts), getattr(value, name))
    if item is not None:
        if not texts:
            raise ConfigError(f"{path} got no value: it must be {valid(hint)}")
        found: Any = [_parse(text, item) for text in texts]
        if not all(is_a(x, item) for x in found):
            raise ConfigError(f"{path} is {shortened(found)}: it must be {valid(hint)}")
        return tuple(bounded(item(x), path) for x in found)
    if len(texts) != 1:
        got = f"{len(texts)} values, {' '.join(texts)}"[:200] if texts else "no value"
        raise ConfigError(f"{path} got {got}: it must be one value, {valid(hint)}")
    found = _parse(texts[0], hint)
    if not is_a(found, hint):
        raise ConfigError(f"{path} is {shortened(found)}: it must be {valid(hint)}")
    return bounded(hint(found), path)


def _chosen(held: tuple[Any, ...], kind: Kind, texts: list[str], path: str) -> tuple[Any, ...]:
    """Chooses the values that are named, in that order; else new ones with their defaults."""
    there = {item_name(value): value for value in held}
    chosen = []
    for text in texts:
        if text in there:
            chosen.append(there[text])
            continue
        if ":" in text:
            chosen.append(build(_named_class(path, text, kind), {}, path))
            continue
        classes = classes_of(kind)
        if text not in classes:
            names = sorted({*there, *classes})
            close = nearest(text, names)
            hint = f"the nearest is {close}; " if close else ""
            raise ConfigError(
                f"{path} has {text[:200]!r}: {hint}{kind.noun} is one of {', '.join(names)}, or "
                "module:Class"
            )
        chosen.append(build(classes[text], {}, path))
    return tuple(chosen)


def _parse(text: str, kind: Any) -> Any:
    """`text` as a `kind`, or as it is where it is none, for the caller to say so."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text) if len(text) <= 4096 else text
    except ValueError:
        return text


def named_items(value: Any) -> Iterator[tuple[str, int, Any]]:
    """The values in fields that hold several: the field, the place in it, and the value."""
    hints = _hints(type(value))
    return _named(hints, {name: getattr(value, name) for name in hints})


def _named(hints: dict[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """The same of a class with these types of its fields, which are to have these values."""
    for field, hint in hints.items():
        item = _item(hint)
        if item is not None and _kind(item) is not None:
            for index, held in enumerate(values[field]):
                yield field, index, held


def item_name(value: Any) -> str:
    """The name by which a path reaches a value among several."""
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else short_name(type(value))


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every plain field of a value by its path; of a value among several, by its name.

    Where a value may be of several classes, "cls" is its class.
    """
    found: dict[str, Any] = {}
    several = {field for field, _, _ in named_items(value)}
    for name, hint in _hints(type(value)).items():
        held = getattr(value, name)
        if name in several:
            continue
        if dataclasses.is_dataclass(held):
            if _named_in(held, hint):
                found[f"{path}{name}.cls"] = class_name(held)
            found |= leaves(held, f"{path}{name}.")
        else:
            found[path + name] = held
    for _, _, held in named_items(value):
        prefix = f"{path}{item_name(held)}."
        found[f"{prefix}cls"] = class_name(held)
        found |= leaves(held, prefix)
    return found


def _hints(cls: type) -> dict[str, Any]:
    """The declared types of a dataclass's fields, with their annotations."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _item(hint: Any) -> Any:
    """The type of the items of a `tuple[X, ...]`; None for any other type."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


def _required(hint: Any) -> tuple[Any, bool]:
    """The first `X` of a type `X | Y | None`, and whether None is among them."""
    if isinstance(hint, types.UnionType):
        kinds = typing.get_args(hint)
        rest = [kind for kind in kinds if kind is not types.NoneType]
        return rest[0], len(rest) < len(kinds)
    return hint, False


def _choices(hint: Any) -> tuple[Any, ...]:
    """The dataclasses of a type `X | Y`; none for a type that has only one."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else ()
    found = tuple(kind for kind in kinds if dataclasses.is_dataclass(kind))
    return found if len(found) > 1 else ()


def _kind(hint: Any) -> Kind | None:
    """The kind of values that a field may hold; None for a field of one type."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Kind):
            return extra
    return None

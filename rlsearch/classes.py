"""Classes that text names as `module:Class`: only those that the module defines, of a kind that is
expected.

A config that is data may name a class, and a name is all that it can say: a class that a module
merely imports, or one that is something else, is no answer. The package's own classes of a kind are
all in one room, and no other module of the package is imported for a name's sake.
"""

import dataclasses
import difflib
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterable, Sequence
from typing import Any

from rlsearch.config import Kind
from rlsearch.text import shortened

MAX_NAME = 200  # characters of a name


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that looks most like `name`, or None where none does."""
    found = difflib.get_close_matches(name[:MAX_NAME], list(names), n=1, cutoff=0.5)
    return found[0] if found else None


def class_name(value: Any) -> str:
    """The name `module:Class` of a value's class."""
    return f"{type(value).__module__}:{type(value).__qualname__}"


def short_name(cls: type) -> str:
    """A class's name in lower case, with underscores between its words: `best_of_n`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()


def find_class(
    field: str,
    name: str,
    kind: Kind,
    names: Sequence[str] = (),
    modules: Sequence[str] | None = None,
) -> Any:
    """Finds the class that `name` says.

    Args:
        field: where the name stands, for the sentence about a wrong one.
        name: `module:Class`.
        kind: of the class.
        names: what is valid there beside `module:Class`, for that sentence.
        modules: the only modules beside those of the package that are imported for the name's
            sake; None for any, where the user has typed the name.

    Raises:
        ValueError: the name is none, there is no such class, it is defined elsewhere or not of the
            kind, or the module does not run.
    """
    valid = "".join(f"{known}, " for known in names) + "or " * bool(names) + "module:Class"
    said = f"{field} is {shortened(name)}: it must be {valid}"
    if not isinstance(name, str) or not _is_name(name):
        raise ValueError(f"{said}{_hint(str(name), kind, names)}")
    module_name, _, own_name = name.partition(":")
    top = module_name.split(".")[0]
    inside = top == kind.room.split(".")[0]
    if inside and not module_name.startswith(f"{kind.room}."):
        what = f"of {kind.noun}; those of the package are in {kind.room}"
        raise ValueError(f"{said} {what}{_hint(name, kind)}")
    if not inside and modules is not None and top not in modules:
        raise ValueError(
            f"{said} of {kind.noun}; what is data may name rlsearch.*, and what --code FILE defines"
        )
    module = _imported(said, module_name, inside)
    found = vars(module).get(own_name) if module else None
    if not isinstance(found, type):
        raise ValueError(f"{said}, and there is no such class{_hint(name, kind, module=module)}")
    if found.__module__ != module_name:
        home = f"{found.__module__}:{found.__qualname__}"
        raise ValueError(f"{said}, and that is {shortened(home)}{_hint(name, kind, module=module)}")
    if lack := _lack(found, kind):
        what = f"of {kind.noun}, and that one {lack}"
        raise ValueError(f"{said} {what}{_hint(name, kind, module=module)}")
    return found


def classes_of(kind: Kind) -> dict[str, Any]:
    """The package's own classes of a kind, by their short names."""
    package = importlib.import_module(kind.room)
    places = [f"{kind.room}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]
    return {
        short_name(found): found
        for place in map(importlib.import_module, places)
        for found in vars(place).values()
        if isinstance(found, type) and found.__module__ == place.__name__ and not _lack(found, kind)
    }


def _is_name(name: str) -> bool:
    module_name, _, class_name = name.partition(":")
    parts = [*module_name.split("."), class_name]
    return len(name) <= MAX_NAME and all(part.isidentifier() for part in parts)


def _imported(said: str, name: str, inside: bool) -> types.ModuleType | None:
    """The module, or None where there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise ValueError(f"{said}, and {name} does not run: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a user's file may raise is its own fault
        if inside:
            raise
        raise ValueError(
            f"{said}, and {name} does not run: {type(error).__name__}: {error}"
        ) from error


def _lack(found: Any, kind: Kind) -> str:
    """The reason why a class is not of a kind; empty where it is."""
    if getattr(found, "_is_protocol", False) or inspect.isabstract(found):
        return "only says what such a class is"
    fields = {f.name for f in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else {}

    def missing(needed: Sequence[str]) -> list[str]:
        return [name for name in needed if not hasattr(found, name) and name not in fields]

    lacks = missing([*kind.members, *([kind.maker] if kind.maker else [])])
    if lacks and (not kind.or_members or missing(kind.or_members)):
        return f"has no {', '.join(lacks)}"
    if not kind.maker and not dataclasses.is_dataclass(found):
        return "is no dataclass"
    return ""


def _hint(
    name: str, kind: Kind, names: Sequence[str] = (), module: types.ModuleType | None = None
) -> str:
    """The nearest right name, one of `names`, of the package, or of the module that was named."""
    right = {f"{found.__module__}:{found.__name__}" for found in classes_of(kind).values()}
    right |= {
        f"{found.__module__}:{label}"
        for label, found in (vars(module) if module else {}).items()
        if isinstance(found, type) and not _lack(found, kind)
    }
    close = nearest(name, [*names, *sorted(right)])
    return f"; the nearest is {close}" if close else ""

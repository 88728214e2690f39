"""Classes that text names as `module:Class`: only those that the module defines, of a kind that is
expected.

Whoever writes a config may name a class, and a name is all that it can say: a class that a module
merely imports, or one that is something else, is no answer. The package's own classes of a kind are
all in one room, and no other module of the package is imported for a name's sake.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import types
from collections.abc import Sequence
from typing import Any

from rlsearch.config_file import nearest
from rlsearch.text import shortened

MAX_NAME = 200  # characters of a name


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a class is asked to be."""

    protocol: type  # whose methods it must have; the package's own classes are in the same room
    optional: tuple[str, ...] = ()  # methods of it that a class need not have
    maker: str = ""  # the class method that makes one; empty: the class itself is called
    arguments: int = 1  # that this is given

    @property
    def room(self) -> str:
        """The part of the package that has classes of this kind."""
        return self.protocol.__module__.rpartition(".")[0]


def find_class(field: str, name: str, kind: Kind, names: Sequence[str] = ()) -> Any:
    """Finds the class that `name` says.

    Args:
        field: where the name stands, for the sentence about a wrong one.
        name: `module:Class`.
        kind: of the class.
        names: what is valid there beside `module:Class`, for that sentence.

    Raises:
        ValueError: the name is none, there is no such class, it is defined elsewhere or not of the
            kind, or the module does not run.
    """
    valid = "".join(f"{known}, " for known in names) + "or " * bool(names) + "module:Class"
    said = f"{field} is {shortened(name)}: it must be {valid}"
    module_name, _, class_name = name.partition(":")
    if not _is_name(name):
        raise ValueError(f"{said}{_hint(name, kind, names)}")
    inside = module_name.split(".")[0] == kind.room.split(".")[0]
    if inside and not module_name.startswith(f"{kind.room}."):
        what = f"of a {kind.protocol.__name__}; those of the package are in {kind.room}"
        raise ValueError(f"{said} {what}{_hint(name, kind)}")
    module = _imported(said, module_name, inside)
    found = vars(module).get(class_name) if module else None
    if not isinstance(found, type):
        raise ValueError(f"{said}, and there is no such class{_hint(name, kind, module=module)}")
    if found.__module__ != module_name:
        home = f"{found.__module__}:{found.__qualname__}"
        raise ValueError(f"{said}, and that is {shortened(home)}{_hint(name, kind, module=module)}")
    if lack := _lack(found, kind):
        what = f"of a {kind.protocol.__name__}, and that one {lack}"
        raise ValueError(f"{said} {what}{_hint(name, kind, module=module)}")
    return found


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
    """What keeps a class from being of a kind; empty where nothing does."""
    methods = [name for name, member in vars(kind.protocol).items() if inspect.isfunction(member)]
    needed = [name for name in methods if not name.startswith("_") and name not in kind.optional]
    needed += [kind.maker] if kind.maker else []
    missing = [name for name in needed if not callable(getattr(found, name, None))]
    if missing:
        return f"has no {', '.join(missing)}"
    if getattr(found, "_is_protocol", False) or inspect.isabstract(found):
        return "only says what such a class is"
    try:
        inspect.signature(getattr(found, kind.maker) if kind.maker else found).bind(
            *[None] * kind.arguments
        )
    except TypeError as error:
        return f"cannot be made with {kind.arguments} arguments ({error})"
    return ""


def _hint(
    name: str, kind: Kind, names: Sequence[str] = (), module: types.ModuleType | None = None
) -> str:
    """The nearest right name, one of `names`, of the package, or of the module that was named."""
    package = importlib.import_module(kind.room)
    own = [f"{kind.room}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]
    modules = [*map(importlib.import_module, own), *([module] if module else [])]
    right = {
        f"{place.__name__}:{label}"
        for place in modules
        for label, found in vars(place).items()
        if isinstance(found, type) and found.__module__ == place.__name__ and not _lack(found, kind)
    }
    close = nearest(name[:MAX_NAME], [*names, *sorted(right)])
    return f"; the nearest is {close}" if close else ""

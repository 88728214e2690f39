"""An argparse parser whose errors are one sentence, and the arguments that commands share."""

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from rlsearch.config_file import ConfigError, nearest

FIELDS_HELP = "Any field of the config: --search.num_simulations 32 --evaluation.budgets 1 4"


class Parser(argparse.ArgumentParser):
    """Raises `ConfigError` where argparse prints its usage and exits; options are not abridged."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse words this differently in each version of Python, and without the nearest.
        if action.choices is not None and value not in action.choices:
            name = action.metavar or action.dest
            raise argparse.ArgumentError(None, unknown(str(name), value, action.choices))

    def options(self) -> list[str]:
        """The options that the help shows."""
        help = self.format_help().partition("options:")[2].partition("\n\n")[0]
        return re.findall(r"(?<!\S)--[a-z-]+", help)


def unknown(kind: str, value: str, names: Iterable[str], fields: Iterable[str] = ()) -> str:
    """The sentence that there is no `value` among `names`, and which is the nearest.

    `fields` are near too, but are not listed: they would bury the sentence.
    """
    names, fields = list(names), list(fields)
    close = nearest(value, [*names, *fields])
    hint = f"the nearest is {close}; " if close else ""
    valid = ", ".join(names) + (", and the config's fields" if fields else "")
    return f"there is no {kind} {value!r}: {hint}valid are {valid}"


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}: it must be at least 1")
    return number


def whole(text: str) -> int:
    """An argparse type: a whole number of at least 0."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"is {text!r}: it must be a whole number of at least 0")
    return int(text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def add_code(parser: argparse.ArgumentParser) -> None:
    """Adds `--code`."""
    parser.add_argument(
        "--code", metavar="FILE", help="a Python file of yours, whose classes module:Class may name"
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`."""
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder with the task's files; sets task.data_dir"
    )

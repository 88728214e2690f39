"""An argparse parser whose errors are one sentence, and the arguments that commands share."""

import argparse
import math
import os
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from rlsearch.classes import nearest
from rlsearch.config_data import ConfigError
from rlsearch.text import MAX_GIVEN, shortened

_ELSEWHERE = re.compile(r"(?!gs://)[A-Za-z][A-Za-z0-9+.-]*://")

FIELDS_HELP = (
    "Any field of the config, those of a stage behind its name: "
    "--distilled.search.num_simulations 32 --accuracy.budgets 1 4"
)


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


def unknown(kind: str, value: str, names: Iterable[str]) -> str:
    """The sentence that there is no `value` among `names`, and which is the nearest."""
    names = list(names)
    close = nearest(value[:MAX_GIVEN], names)
    hint = f"the nearest is {close}; " if close else ""
    return f"there is no {kind} {shortened(value)}: {hint}valid are {', '.join(names)}"


def read_config(arguments: argparse.Namespace, overrides: list[str]) -> Any:
    """The experiment that a command's CONFIG, --code, --data-dir and fields describe.

    Raises:
        ConfigError: see `rlsearch.config_file`.
    """
    from rlsearch import config_file

    if arguments.code:
        config_file.load_code(arguments.code)
    if arguments.data_dir is not None:
        overrides = [*overrides, f"--task.data_dir={arguments.data_dir}"]
    return config_file.override(config_file.load(arguments.config), overrides)


TEXTS = ("problem", "message", "system", "instruction")  # arguments that may be any text
MOST = 1_048_576  # of an option that is a number: budgets, games, problems and the like


def positive(text: str) -> int:
    """An argparse type: a whole number from 1 to `MOST`."""
    number = whole(text)
    for wrong, valid in ((number < 1, "at least 1"), (number > MOST, f"at most {MOST:,}")):
        if wrong:
            raise argparse.ArgumentTypeError(f"is {shortened(text)}: it must be {valid}")
    return number


def whole(text: str) -> int:
    """An argparse type: a whole number of at least 0."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(
            f"is {shortened(text)}: it must be a whole number of at least 0"
        )
    return int(text)


def number(text: str) -> float:
    """An argparse type: a number from 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 100.0:
        raise argparse.ArgumentTypeError(f"is {shortened(text)}: it must be a number from 0 to 100")
    return value


def check_places(arguments: argparse.Namespace) -> None:
    """Refuses what is neither a path here nor one of a bucket: nothing is read from elsewhere.

    Raises:
        ConfigError: an argument names a place such as `http://...`, or is no name of a file.
    """
    for name, value in vars(arguments).items():
        for text in value if isinstance(value, list) else [value]:
            if name in TEXTS or not isinstance(text, str):
                continue
            said = f"{name.replace('_', '-')} is {shortened(text)}"
            if _ELSEWHERE.match(text):
                arguments.parser.error(
                    f"{said}: it must be a path here, or one of a bucket, gs://..."
                )
            if not _is_file_name(text):
                arguments.parser.error(f"{said}: it holds a character that no path can have")


def _is_file_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def add_code(parser: argparse.ArgumentParser) -> None:
    """Adds `--code`."""
    parser.add_argument(
        "--code", metavar="FILE", help="a Python file of yours, whose classes module:Class may name"
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """Adds `--out`."""
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the results (default: evaluations/ of the run)"
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds `--data-dir`."""
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder with the task's files; sets task.data_dir"
    )

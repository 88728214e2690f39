"""The output of a command: text for people, or one JSON object for programs."""

import argparse
import io
import json
import math
import sys
from typing import Any

from etils import epath

from rlsearch.results import Results
from rlsearch.text import for_terminal, lines_for_terminal, shortened


def emit(arguments: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    """Prints `result` where `--json` was given, else `text`; a command calls it once.

    With `--json`, all that is printed otherwise goes to standard error: see `main`.
    """
    if arguments.json:
        text = json.dumps(_finite(result), allow_nan=False)
    print(lines_for_terminal(text), file=arguments.stdout)


def results_of(run_dir: str) -> epath.Path:
    """The folder in which a run's results are.

    Raises:
        FileNotFoundError: there is no run, and no folder is to be made for it.
    """
    from rlsearch.runs.directory import RunDirectory  # it imports JAX, which takes seconds

    directory = RunDirectory(run_dir, create=False)
    if not directory.config.exists():
        raise FileNotFoundError(f"run is {shortened(run_dir)}: there is no config.json in it")
    return directory.evaluations


def emit_results(
    arguments: argparse.Namespace, result: dict[str, Any], text: str, saved: Results
) -> int:
    """Does what `emit` does, of a result with files; returns the exit code, 1 where one could not
    be saved.

    A path that holds nothing is null in the result.
    """
    emit(arguments, _without(result, saved.unsaved), text)
    for sentence in saved.unsaved.values():
        print(f"warning: {for_terminal(sentence)}", file=sys.stderr)
    return int(bool(saved.unsaved))


def files_of(result: dict[str, Any], saved: Results, *names: str) -> list[str]:
    """Lines that say where the files of a result are, those that could be saved."""
    return [
        f"{name.replace('_', ' ')}: {result[name]}"
        for name in names
        if name in result and result[name] not in saved.unsaved
    ]


def _without(value: Any, unsaved: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, unsaved) for key, item in value.items()}
    return None if isinstance(value, str) and value in unsaved else value


def say(line: str) -> None:
    """Prints a line while a command works: what it has found by now."""
    print(for_terminal(line), flush=True)


def safe_output() -> None:
    """Lets standard output take every character, where its encoding may not have it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _finite(value: Any) -> Any:
    """`value` with null for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

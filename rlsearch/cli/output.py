"""What a command prints: text for people, or one JSON object for programs."""

import argparse
import json
import math
from typing import Any


def emit(arguments: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    """Prints `result` where `--json` was given, else `text`; a command calls it once.

    With `--json`, all that is printed otherwise goes to standard error: see `main`.
    """
    if arguments.json:
        text = json.dumps(_finite(result), allow_nan=False)
    print(text, file=arguments.stdout)


def _finite(value: Any) -> Any:
    """`value` with null for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

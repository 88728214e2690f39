"""`rlsearch data prepare`: builds a dataset."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_data_dir, add_json
from rlsearch.config_file import ConfigError

TAKES_FIELDS = False
NAMES = ("game24",)


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("data", help="build a dataset")
    parser.add_argument("action", metavar="ACTION", choices=("prepare",), help="prepare")
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Builds the dataset, and prints how many problems it has."""
    del overrides
    from rlsearch.data.game24 import benchmark_rows

    try:
        rows = benchmark_rows(arguments.data_dir or "")
    except ValueError as error:  # the user's file is not the public one
        raise ConfigError(str(error)) from error
    result = {"name": arguments.name, "problems": len(rows)}
    emit(arguments, result, f"{arguments.name} is prepared: {len(rows)} problems")
    return 0

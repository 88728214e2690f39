"""`rlsearch import`: a run made of what `rlsearch export` wrote."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "import", help="make a run of an export, to be evaluated; it runs no code of it"
    )
    parser.add_argument("folder", metavar="DIR", help="what `rlsearch export` wrote")
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory, a new one")
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Imports, and prints what there is now."""
    del overrides
    from rlsearch.sharing.share import import_run

    result = import_run(
        arguments.folder,
        arguments.run_dir,
        data_dir=arguments.data_dir or "",
        code=arguments.code or "",
    )
    what = f"{result['stage']} at step {result['step']}, {result['parameters']:,} parameters"
    emit(arguments, result, f"imported: {result['run']} ({what})")
    return 0

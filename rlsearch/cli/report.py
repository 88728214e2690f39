"""`rlsearch report`: one page that compares runs."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_json

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("report", help="compare runs and seeds on one page")
    parser.add_argument(
        "run_dirs", nargs="+", metavar="RUN", help="runs, or folders that hold runs"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where to write, by default the first RUN's folder"
    )
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Writes the page and the picture, and prints the table."""
    del overrides
    from rlsearch.pages.report import report

    result = report(arguments.run_dirs, arguments.out or "")
    lines = [
        f"{row['group']:40} {row['policy']:10} {row['strategy']:20} budget {row['budget']:4}  "
        f"{100 * row['accuracy']:5.1f}%  of {row['training_seeds']} trainings"
        for row in result["rows"]
    ]
    lines += [f"page: {result['page']}", f"picture: {result['picture']}"]
    emit(arguments, result, "\n".join(lines))
    return 0

"""`rlsearch report`: one page that compares runs."""

import argparse
from typing import Any

from rlsearch.cli.output import emit_results, files_of
from rlsearch.cli.parser import add_json
from rlsearch.results import results_in
from rlsearch.text import for_terminal

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
    from rlsearch.pages.report import report, runs_in

    runs_in(arguments.run_dirs[0])  # before anything is made in it
    folder = arguments.out or arguments.run_dirs[0]
    with results_in(folder, folder) as saved:
        result = report(arguments.run_dirs, arguments.out or "")
    lines = [_line(row, bool(result["fields"])) for row in result["rows"]]
    lines += files_of(result, saved, "page", "picture")
    return emit_results(arguments, result, "\n".join(lines), saved)


def _line(row: dict[str, Any], grouped: bool) -> str:
    group = f"{for_terminal(row['group'], 80):40} " if grouped else ""
    policy, strategy = (for_terminal(row[key], 40) for key in ("policy", "strategy"))
    count = row["training_seeds"]
    return (
        f"{group}{policy:10} {strategy:20} budget {row['budget']:4}  "
        f"{100 * row['accuracy']:5.1f}%  of {count} training{'s' * (count != 1)}"
    )

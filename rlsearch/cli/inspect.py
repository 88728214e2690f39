"""`rlsearch inspect`: the tree of one search, as a page."""

import argparse

from etils import epath

from rlsearch.cli.output import emit_results, files_of, results_of
from rlsearch.cli.parser import add_code, add_data_dir, add_json, positive, whole
from rlsearch.results import results_in

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("inspect", help="show the tree of one search as a page")
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory")
    parser.add_argument(
        "problem",
        metavar="PROBLEM",
        help='such as "4 7 8 8"; of a game the moves from its start, such as "5 1", or ""',
    )
    parser.add_argument(
        "--out", metavar="FILE", help="the page (default: evaluations/tree.html of the run)"
    )
    parser.add_argument(
        "--simulations", type=positive, metavar="N", help="of games (default: the config's)"
    )
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help="of language, in mean sampled solutions; of its trees the first (default: 16)",
    )
    parser.add_argument(
        "--policy", metavar="NAME", help="of language: a stage that ends with a policy"
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="S", help="of the search (default: %(default)s)"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Searches, and prints where the page is."""
    del overrides
    from rlsearch.pages.inspect import Asked, inspect_run

    asked = Asked(
        arguments.problem,
        simulations=arguments.simulations,
        budget=arguments.budget,
        policy=arguments.policy,
        seed=arguments.seed,
    )
    places = {"data_dir": arguments.data_dir or "", "code": arguments.code or ""}
    own = results_of(arguments.run_dir)
    with results_in(epath.Path(arguments.out).parent if arguments.out else own, own) as saved:
        result = inspect_run(arguments.run_dir, asked, arguments.out or "", **places)
    lines = files_of(result, saved, "page") or ["page: none"]
    return emit_results(arguments, result, f"{lines[0]} ({result['nodes']} nodes)", saved)

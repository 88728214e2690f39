"""`rlsearch inspect`: the tree of one search, as a page."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json, positive, whole

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
    result = inspect_run(arguments.run_dir, asked, arguments.out or "", **places)
    emit(arguments, result, f"page: {result['page']} ({result['nodes']} nodes)")
    return 0

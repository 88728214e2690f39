"""`rlsearch evaluate`: accuracy against compute, of a trained run."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json, positive, whole

TAKES_FIELDS = False
POLICIES = ("base", "distilled", "control")


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("evaluate", help="measure accuracy against compute")
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory")
    parser.add_argument(
        "--strategies", nargs="+", metavar="NAME", help="test-time strategies; else the config's"
    )
    parser.add_argument(
        "--budgets",
        nargs="+",
        type=positive,
        metavar="B",
        help="each in mean sampled solutions a problem; else the config's",
    )
    parser.add_argument(
        "--seeds", nargs="+", type=whole, metavar="S", help="of the sampling; else the config's"
    )
    parser.add_argument(
        "--problems", type=positive, metavar="N", help="only the first N held-out problems"
    )
    parser.add_argument(
        "--policies",
        nargs="+",
        choices=POLICIES,
        metavar="POLICY",
        help=f"which of {', '.join(POLICIES)}; else all that the run has",
    )
    parser.add_argument(
        "--oracle", action="store_true", help="also with the checker inside the search"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Evaluates, and prints the table."""
    del overrides
    from rlsearch.evaluation.evaluate import evaluate

    result = evaluate(
        arguments.run_dir,
        strategies=arguments.strategies or (),
        budgets=arguments.budgets or (),
        seeds=arguments.seeds or (),
        names=arguments.policies or (),
        num_problems=arguments.problems,
        oracle=arguments.oracle,
        data_dir=arguments.data_dir or "",
        code=arguments.code or "",
        report=print,
    )
    emit(arguments, result, f"table: {result['table']}\npicture: {result['picture']}")
    return 0

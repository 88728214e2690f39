"""`rlsearch solve`: one answer, with its steps and its cost."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json, positive

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("solve", help="solve one problem with a trained run")
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory")
    parser.add_argument("problem", metavar="PROBLEM", help='such as "4 7 8 8"')
    parser.add_argument("--policy", metavar="NAME", help="of a stage that ends with a policy")
    parser.add_argument(
        "--budget",
        type=positive,
        default=16,
        metavar="N",
        help="in mean sampled solutions (default: %(default)s)",
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Solves, and prints the solution."""
    del overrides
    from rlsearch.measuring.opened import open_run
    from rlsearch.measuring.solve import solve

    opened = open_run(arguments.run_dir, arguments.data_dir or "", arguments.code or "")
    result = solve(opened, arguments.problem, policy=arguments.policy, budget=arguments.budget)
    right = {True: "right", False: "wrong", None: "not judged"}[result["right"]]
    cost = f"{result['policy_tokens']} tokens in {result['generations']} generations"
    emit(arguments, result, "\n".join([*result["solution"], f"{right}, for {cost}"]))
    return 0

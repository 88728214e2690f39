"""`rlsearch evaluate`: accuracy against compute, of a trained run."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_data_dir, add_json, positive, whole

TAKES_FIELDS = False
SUITES = ("test-time-compute", "verifiers", "revisions", "exchange")
AGGREGATIONS = ("last", "min", "prod", "mean")
POLICIES = ("base", "distilled", "control", "revision")


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
        help="in mean sampled solutions a problem, of games in simulations; else the config's",
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
        "--suite",
        choices=SUITES,
        metavar="SUITE",
        help=f"{SUITES[0]}: all strategies, and the best of them by difficulty; {SUITES[1]}: how "
        f"well verifiers judge, and what they make of N samples; {SUITES[2]}: a budget spent in "
        f"parallel, in sequence and in between; {SUITES[3]}: a small model that spends more on an "
        "answer against a larger one, at equal FLOPs in all",
    )
    parser.add_argument(
        "--sequential",
        nargs="+",
        type=positive,
        metavar="S",
        help="attempts of a chain of the strategy revisions; several for --suite revisions",
    )
    parser.add_argument(
        "--against", metavar="RUN", help=f"suite {SUITES[3]}: the run of the larger model"
    )
    parser.add_argument(
        "--verifier",
        nargs="+",
        metavar="NAME",
        help="value_head (default), orm or prm where they are trained, RUN/prm of another run, "
        "constant (none), checker (an oracle) or module:Class",
    )
    parser.add_argument(
        "--aggregation",
        choices=AGGREGATIONS,
        metavar="HOW",
        help=f"one score of those of the steps: {', '.join(AGGREGATIONS)}; else the verifier's own",
    )
    parser.add_argument(
        "--oracle", action="store_true", help="also with the checker inside the search"
    )
    parser.add_argument(
        "--positions", metavar="FILE", help="of games: a CSV of solved positions; else all of them"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Evaluates, and prints the table."""
    del overrides
    from rlsearch.config import SelfPlayExperiment
    from rlsearch.evaluation.run import read_run

    _, config = read_run(arguments.run_dir, arguments.code or "")
    if isinstance(config, SelfPlayExperiment):
        return run_board(arguments)
    if arguments.positions:
        arguments.parser.error(f"--positions is for games, and this is a run of {config.kind}")

    if bool(arguments.against) != (arguments.suite == "exchange"):
        arguments.parser.error("--against RUN, of a larger model, goes with --suite exchange")
    if arguments.suite == "verifiers":
        return run_verifiers(arguments)
    if len(arguments.sequential or ()) > 1 and arguments.suite != "revisions":
        arguments.parser.error("--sequential takes one number; several are for --suite revisions")
    if len(arguments.verifier or ()) > 1:
        arguments.parser.error("--verifier takes one name; several are for --suite verifiers")
    if arguments.suite == "revisions":
        return run_revisions(arguments)
    given = {
        "strategies": arguments.strategies or (),
        "budgets": arguments.budgets or (),
        "seeds": arguments.seeds or (),
        "names": arguments.policies or (),
        "num_problems": arguments.problems,
        "verifier": (arguments.verifier or ["value_head"])[0],
        "aggregation": arguments.aggregation or "",
        "data_dir": arguments.data_dir or "",
        "code": arguments.code or "",
        "report": print,
    }
    if arguments.suite:
        if arguments.oracle:
            arguments.parser.error(
                "--oracle is not for a suite: --verifier checker makes one of it"
            )
        if arguments.sequential:
            arguments.parser.error(f"--sequential is not for --suite {arguments.suite}")
        if arguments.suite == "exchange":
            from rlsearch.evaluation.exchange import run_exchange

            if given.pop("names"):
                arguments.parser.error("--policies is not for the exchange: it is about base")
            result = run_exchange(arguments.run_dir, arguments.against, **given)
        else:
            from rlsearch.evaluation.suite import run_suite

            result = run_suite(arguments.run_dir, **given)
    else:
        from rlsearch.evaluation.evaluate import evaluate

        sequential = (arguments.sequential or [0])[0]
        result = evaluate(
            arguments.run_dir, oracle=arguments.oracle, sequential=sequential, **given
        )
    emit(arguments, result, f"table: {result['table']}\npicture: {result['picture']}")
    return 0


def run_verifiers(arguments: argparse.Namespace) -> int:
    """Measures verifiers, and prints what they are worth."""
    from rlsearch.evaluation.verifier_suite import run_verifier_suite

    for name in ("strategies", "oracle", "sequential"):
        if getattr(arguments, name):
            arguments.parser.error(f"--{name} is not for the suite of verifiers")
    for name in ("seeds", "policies"):
        if len(getattr(arguments, name) or ()) > 1:
            arguments.parser.error(f"--{name} takes one in the suite of verifiers")
    result = run_verifier_suite(
        arguments.run_dir,
        verifiers=arguments.verifier or (),
        budgets=arguments.budgets or (),
        seed=(arguments.seeds or [0])[0],
        policy_name=(arguments.policies or [""])[0],
        num_problems=arguments.problems,
        aggregation=arguments.aggregation or "",
        data_dir=arguments.data_dir or "",
        code=arguments.code or "",
        report=print,
    )
    emit(arguments, result, f"table: {result['table']}\npicture: {result['picture']}")
    return 0


def run_revisions(arguments: argparse.Namespace) -> int:
    """Sweeps the ratio of sequential to parallel attempts, and prints what it makes of a budget."""
    from rlsearch.evaluation.revision_suite import run_revision_suite

    for name in ("strategies", "oracle"):
        if getattr(arguments, name):
            arguments.parser.error(f"--{name} is not for the suite of revisions")
    if len(arguments.policies or ()) > 1:
        arguments.parser.error("--policies takes one in the suite of revisions")
    result = run_revision_suite(
        arguments.run_dir,
        sequential=arguments.sequential or (),
        budgets=arguments.budgets or (),
        seeds=arguments.seeds or (),
        policy_name=(arguments.policies or [""])[0],
        num_problems=arguments.problems,
        verifier=(arguments.verifier or ["value_head"])[0],
        aggregation=arguments.aggregation or "",
        data_dir=arguments.data_dir or "",
        code=arguments.code or "",
        report=print,
    )
    emit(arguments, result, f"table: {result['table']}\npicture: {result['picture']}")
    return 0


def run_board(arguments: argparse.Namespace) -> int:
    """Evaluates a run of self-play: on solved positions, or by returns where one plays alone."""
    from rlsearch.evaluation.arena import is_for_two
    from rlsearch.evaluation.run import open_board

    for name in (
        *("strategies", "problems", "policies", "suite", "verifier", "aggregation", "oracle"),
        *("sequential", "against", "data_dir"),
    ):
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            arguments.parser.error(f"{option} is for language, and this is a run of self-play")
    given = {
        "budgets": arguments.budgets or (),
        "seeds": arguments.seeds or (),
        "code": arguments.code or "",
        "report": print,
    }
    _, _, environment, _ = open_board(arguments.run_dir, arguments.code or "")
    if is_for_two(environment):
        from rlsearch.evaluation.board import evaluate_board

        result = evaluate_board(arguments.run_dir, positions=arguments.positions or "", **given)
        emit(arguments, result, f"table: {result['table']}")
    else:
        from rlsearch.evaluation.returns import evaluate_returns

        if arguments.positions:
            arguments.parser.error(
                "--positions is for games of two, and this is one for one player"
            )
        result = evaluate_returns(arguments.run_dir, **given)
        emit(arguments, result, f"table: {result['table']}\npicture: {result['picture']}")
    return 0

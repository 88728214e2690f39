"""`rlsearch evaluate`: accuracy against compute, of a trained run."""

import argparse
from typing import Any

from rlsearch.cli.output import emit_results, files_of, say
from rlsearch.cli.parser import add_code, add_data_dir, add_json, add_out, positive, whole
from rlsearch.results import results_in

TAKES_FIELDS = False
SPLITS = ("held_out", "training")
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
        "--problems", type=positive, metavar="N", help="only the first N of the problems"
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        metavar="SPLIT",
        help="held_out (default), or training: problems drawn as in training, to choose settings "
        "on; what is found goes into a folder of its own",
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
        help=f"{SUITES[0]}: all strategies, the best of them by difficulty, and those of the other "
        f"suites that the run has something to show in; {SUITES[1]}: how well verifiers judge, and "
        f"what they make of N samples; {SUITES[2]}: a budget spent in parallel, in sequence and in "
        f"between; {SUITES[3]}: a small model that spends more on an answer against a larger one, "
        "at equal FLOPs in all",
    )
    parser.add_argument(
        "--sequential",
        nargs="+",
        type=positive,
        metavar="S",
        help="attempts of a chain of the strategy revisions; several for --suite revisions",
    )
    parser.add_argument(
        "--against",
        metavar="RUN",
        help=f"suites {SUITES[3]} and {SUITES[0]}: the run of a larger model",
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
    add_out(parser)
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Evaluates, and prints the table."""
    del overrides
    from rlsearch.config import SelfPlayExperiment
    from rlsearch.runs.opening import read_run
    from rlsearch.training.progress import Working

    directory, config = read_run(arguments.run_dir, arguments.code or "")
    if isinstance(config, SelfPlayExperiment):
        return run_board(arguments, directory.evaluations)
    if arguments.positions:
        arguments.parser.error(f"--positions is for games, and this is a run of {config.kind}")

    check_usage(arguments)
    given = {
        "budgets": arguments.budgets or (),
        "num_problems": arguments.problems,
        "aggregation": arguments.aggregation or "",
        "data_dir": arguments.data_dir or "",
        "code": arguments.code or "",
        "split": arguments.split or "held_out",
    }
    own = directory.evaluations
    with results_in(arguments.out or own, own) as saved, Working("evaluating", say) as working:
        given["report"] = working.say
        result = SUITE_RUNS[arguments.suite](arguments, given)
    made = [result, *(part for part in result.values() if isinstance(part, dict))]
    names = ("table", "picture", "total_picture")
    files = [line for part in made for line in files_of(part, saved, *names)]
    return emit_results(arguments, result, "\n".join(files), saved)


def check_usage(arguments: argparse.Namespace) -> None:
    """Refuses options that the suite has nothing to do with, and several values where it takes one.

    Raises:
        ConfigError: in one sentence.
    """
    suite, error = arguments.suite, arguments.parser.error

    def several(name: str) -> bool:
        return len(getattr(arguments, name) or ()) > 1

    if suite == "exchange" and not arguments.against:
        error("--suite exchange needs --against RUN, of a larger model")
    if arguments.against and suite not in ("exchange", "test-time-compute"):
        error("--against RUN, of a larger model, goes with --suite exchange or test-time-compute")
    if suite and arguments.oracle:
        error("--oracle is not for a suite: --verifier checker makes one of it")
    if suite in ("verifiers", "revisions") and arguments.strategies:
        error(f"--strategies is not for the suite of {suite}")
    if suite == "exchange" and arguments.policies:
        error("--policies is not for the exchange: it is about base")
    if suite not in (None, "revisions") and arguments.sequential:
        error(f"--sequential is not for the suite of {suite}")
    if suite != "revisions" and several("sequential"):
        error("--sequential takes one number; several are for --suite revisions")
    if suite != "verifiers" and several("verifier"):
        error("--verifier takes one name; several are for --suite verifiers")
    if suite in ("verifiers", "revisions") and several("policies"):
        error(f"--policies takes one in the suite of {suite}")
    if suite == "verifiers" and several("seeds"):
        error("--seeds takes one in the suite of verifiers")


def run_strategies(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """Strategies and budgets as they are named, and no suite."""
    from rlsearch.measuring.evaluate import evaluate

    return evaluate(
        arguments.run_dir,
        strategies=arguments.strategies or (),
        seeds=arguments.seeds or (),
        names=arguments.policies or (),
        verifier=first(arguments.verifier, "value_head"),
        oracle=arguments.oracle,
        sequential=first(arguments.sequential, 0),
        **given,
    )


def run_test_time_compute(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """All strategies, the best of them by difficulty, and what else the run has to show."""
    from rlsearch.studies.everything import run_whole_suite

    return run_whole_suite(
        arguments.run_dir,
        strategies=arguments.strategies or (),
        seeds=arguments.seeds or (),
        names=arguments.policies or (),
        verifier=first(arguments.verifier, "value_head"),
        against=arguments.against or "",
        **given,
    )


def run_verifiers(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """What verifiers are worth."""
    from rlsearch.studies.verifiers import run_verifier_suite

    return run_verifier_suite(
        arguments.run_dir,
        verifiers=arguments.verifier or (),
        seed=first(arguments.seeds, 0),
        policy_name=first(arguments.policies, ""),
        **given,
    )


def run_revisions(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """The ratio of sequential to parallel attempts, swept."""
    from rlsearch.studies.revisions import run_revision_suite

    return run_revision_suite(
        arguments.run_dir,
        sequential=arguments.sequential or (),
        seeds=arguments.seeds or (),
        policy_name=first(arguments.policies, ""),
        verifier=first(arguments.verifier, "value_head"),
        **given,
    )


def run_exchange(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """A small model that spends more on an answer, against a larger one."""
    from rlsearch.studies.exchange import run_exchange

    return run_exchange(
        arguments.run_dir,
        arguments.against,
        strategies=arguments.strategies or (),
        seeds=arguments.seeds or (),
        verifier=first(arguments.verifier, "value_head"),
        **given,
    )


SUITE_RUNS = {
    None: run_strategies,
    "test-time-compute": run_test_time_compute,
    "verifiers": run_verifiers,
    "revisions": run_revisions,
    "exchange": run_exchange,
}


def first(values: list[Any] | None, default: Any) -> Any:
    """The first of what an option was given, if it was given."""
    return values[0] if values else default


def run_board(arguments: argparse.Namespace, evaluations: Any) -> int:
    """Evaluates a run of self-play: on solved positions, or by returns where one plays alone.

    Args:
        evaluations: the run's own folder for results.
    """
    from rlsearch.arena.opening import open_board
    from rlsearch.arena.tournament import is_for_two
    from rlsearch.training.progress import Working

    for name in (
        *("strategies", "problems", "policies", "suite", "verifier", "aggregation", "oracle"),
        *("sequential", "against", "data_dir", "split"),
    ):
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            arguments.parser.error(f"{option} is for language, and this is a run of self-play")
    given = {
        "budgets": arguments.budgets or (),
        "seeds": arguments.seeds or (),
        "code": arguments.code or "",
    }
    _, _, environment, _ = open_board(arguments.run_dir, arguments.code or "")
    if is_for_two(environment):
        from rlsearch.arena.perfect_play import evaluate_board as measure

        given["positions"] = arguments.positions or ""
    else:
        from rlsearch.arena.returns import evaluate_returns as measure

        if arguments.positions:
            arguments.parser.error(
                "--positions is for games of two, and this is one for one player"
            )
    own = evaluations
    with results_in(arguments.out or own, own) as saved, Working("evaluating", say) as working:
        result = measure(arguments.run_dir, report=working.say, **given)
    files = files_of(result, saved, "table", "picture")
    return emit_results(arguments, result, "\n".join(files), saved)

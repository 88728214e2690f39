"""`rlsearch evaluate`: accuracy against compute, of a trained run."""

import argparse
import dataclasses
import importlib
from typing import Any

from rlsearch.cli.evaluate_open import add_options, given, is_open_model, run_open
from rlsearch.cli.output import emit_results, files_of, say
from rlsearch.cli.parser import add_code, add_data_dir, add_json, add_out, number, positive, whole
from rlsearch.results import results_in

TAKES_FIELDS = False
SPLITS = ("held_out", "training")
STUDIES = {
    "": "rlsearch.studies.accuracy:Accuracy",
    "test-time-compute": "rlsearch.studies.everything:Everything",
    "verifiers": "rlsearch.studies.verifiers:Verifiers",
    "revisions": "rlsearch.studies.revisions:Revisions",
    "exchange": "rlsearch.studies.exchange:Exchange",
    "teachers": "rlsearch.studies.teachers:Teachers",
}
SUITES = tuple(filter(None, STUDIES))
AGGREGATIONS = ("last", "min", "prod", "mean")


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("evaluate", help="measure accuracy against compute")
    parser.add_argument(
        "run_dir", metavar="RUN", help="the run's directory, or the folder of an open model"
    )
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
        "--problems", type=positive, metavar="N", help="only N of the problems, always the same"
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
        metavar="NAME",
        help="of stages that end with a policy; else all that the run has",
    )
    parser.add_argument(
        "--suite",
        choices=SUITES,
        metavar="SUITE",
        help=f"{SUITES[0]}: all strategies, the best of them by difficulty, and those of the other "
        f"suites that the run has something to show in; {SUITES[1]}: how well verifiers judge, and "
        f"what they make of N samples; {SUITES[2]}: a budget spent in parallel, in sequence and in "
        f"between; {SUITES[3]}: a small model that spends more on an answer against a larger one, "
        f"at equal FLOPs in all; {SUITES[4]}: a training search beside as many tokens of samples",
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
        help="value_head (default), one that the run has trained, RUN/NAME of another run's, "
        "constant (none), checker (an oracle) or module:Class",
    )
    parser.add_argument(
        "--aggregation",
        choices=AGGREGATIONS,
        metavar="HOW",
        help=f"one score of those of the steps: {', '.join(AGGREGATIONS)}; else the verifier's own",
    )
    parser.add_argument(
        "--temperature", type=number, metavar="T", help="of every strategy's draws; else its own"
    )
    parser.add_argument(
        "--min-p",
        type=number,
        metavar="P",
        help="tokens less likely than this times the likeliest are not drawn, in every strategy",
    )
    parser.add_argument(
        "--policy-weight",
        type=number,
        metavar="A",
        help="every strategy answers with the solution of the highest logit(score) + A log pi; "
        "else the config's",
    )
    parser.add_argument(
        "--oracle", action="store_true", help="also with the checker inside the search"
    )
    parser.add_argument(
        "--positions", metavar="FILE", help="of games: a CSV of solved positions; else all of them"
    )
    add_options(parser)
    add_out(parser)
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Evaluates, and prints the table."""
    del overrides
    if is_open_model(arguments.run_dir):
        return run_open(arguments)
    for name in given(arguments):
        option = f"--{name.replace('_', '-')}"
        arguments.parser.error(f"{option} is for the folder of an open model, and this is a run")
    from rlsearch.runs.opening import read_run
    from rlsearch.training.progress import Working

    directory, config, _ = read_run(arguments.run_dir, arguments.code or "")
    if config.task is None:
        return run_board(arguments, directory.evaluations)
    if arguments.positions:
        arguments.parser.error("--positions is for games, and this is a run of language")

    from rlsearch.measuring.opened import open_run

    study = study_class(arguments.suite or "")
    fields = fields_for(arguments, study)
    opened = open_run(arguments.run_dir, arguments.data_dir or "", arguments.code or "")
    if "strategies" in fields:
        fields["strategies"] = opened.named_strategies(fields["strategies"])
    # What is asked for is all that is done; else the config's other studies follow.
    asked = bool(fields or arguments.suite)
    others = [x for x in config.evaluation if not (asked or isinstance(x, study))]
    own = directory.evaluations
    with results_in(arguments.out or own, own) as saved, Working("evaluating", say) as working:
        result = study(**fields).run(opened, working.say)
        for other in others:
            result[type(other).__name__.lower()] = other.run(opened, working.say)
    made = [result, *(part for part in result.values() if isinstance(part, dict))]
    names = ("table", "picture", "total_picture")
    files = [line for part in made for line in files_of(part, saved, *names)]
    return emit_results(arguments, result, "\n".join(files), saved)


# The options that a study may have a field for, each with the field's names: a field that takes one
# value is named in the singular.
OPTIONS = {
    "strategies": ("strategies",),
    "budgets": ("budgets",),
    "seeds": ("seeds", "seed"),
    "problems": ("problems",),
    "split": ("split",),
    "policies": ("policies", "policy"),
    "sequential": ("sequential",),
    "against": ("against",),
    "verifier": ("verifiers", "verifier"),
    "aggregation": ("aggregation",),
    "oracle": ("oracle",),
    "temperature": ("temperature",),
    "min_p": ("min_p",),
    "policy_weight": ("policy_weight",),
}


def study_class(suite: str) -> Any:
    """The class of a study."""
    module, _, name = STUDIES[suite].partition(":")
    return getattr(importlib.import_module(module), name)


def fields_for(arguments: argparse.Namespace, study: Any) -> dict[str, Any]:
    """The fields of a study that the command line gives.

    Raises:
        ConfigError: in one sentence, if it has no field for an option, takes one value of it where
            several are given, or needs one that is not.
    """
    fields, given = {field.name: field for field in dataclasses.fields(study)}, {}
    error, name = arguments.parser.error, arguments.suite or "accuracy"
    for option, names in OPTIONS.items():
        values = getattr(arguments, option)
        field = next((fields[name] for name in names if name in fields), None)
        written = f"--{option.replace('_', '-')}"
        if values is None or values is False:
            if field is not None and field.default is dataclasses.MISSING:
                error(f"the study of {name} needs {written}")
        elif field is None:
            error(f"{written} is not for the study of {name}")
        elif isinstance(field.default, tuple):
            given[field.name] = tuple(values)
        elif not isinstance(values, list):
            given[field.name] = values
        elif len(values) > 1:
            error(f"{written} takes one value in the study of {name}")
        else:
            given[field.name] = values[0]
    return given


def run_board(arguments: argparse.Namespace, evaluations: Any) -> int:
    """Evaluates a run of self-play: on solved positions, or by returns where one plays alone.

    Args:
        evaluations: the run's own folder for results.
    """
    from rlsearch.arena.opening import open_game
    from rlsearch.arena.tournament import is_for_two
    from rlsearch.training.progress import Working

    for name in (
        *("strategies", "problems", "policies", "suite", "verifier", "aggregation", "oracle"),
        *("sequential", "against", "data_dir", "split", "temperature", "min_p", "policy_weight"),
    ):
        value = getattr(arguments, name)
        if value is not None and value is not False:
            option = f"--{name.replace('_', '-')}"
            arguments.parser.error(f"{option} is for language, and this is a run of self-play")
    given = {
        "budgets": arguments.budgets or (),
        "seeds": arguments.seeds or (),
        "code": arguments.code or "",
    }
    environment = open_game(arguments.run_dir, arguments.code or "").environment
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

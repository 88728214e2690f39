"""`rlsearch data`: builds a dataset, compares its splits, or labels what a run's policy writes."""

import argparse

from rlsearch.cli.evaluate_open import TASK_HELP, task_of
from rlsearch.cli.output import emit
from rlsearch.cli.parser import Parser, add_code, add_data_dir, add_json, positive, whole
from rlsearch.config_data import ConfigError
from rlsearch.text import shortened

TAKES_FIELDS = False
NAMES = ("game24",)
KINDS = ("exact", "hard", "soft", "bisection")
FORMS = ("prm800k", "math_shepherd")


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("data", help="build a dataset, or label what a policy writes")
    actions = parser.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)

    prepare = actions.add_parser("prepare", help="build a dataset")
    prepare.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    add_data_dir(prepare)
    add_json(prepare)
    prepare.set_defaults(run=run, act=prepare_dataset, parser=prepare)

    compare = actions.add_parser(
        "overlap", help="say which held-out problems have words in common with training ones"
    )
    compare.add_argument("task", metavar="TASK", help=TASK_HELP)
    compare.add_argument(
        "--words",
        type=positive,
        default=8,
        metavar="N",
        help="in a row that must be the same (default: %(default)s)",
    )
    add_data_dir(compare)
    add_json(compare)
    compare.set_defaults(run=run, act=compare_splits, parser=compare)

    label = actions.add_parser(
        "label", help="label the steps of what a policy writes; the same command again resumes it"
    )
    label.add_argument("run_dir", metavar="RUN", help="the run's directory")
    label.add_argument(
        "--labels",
        choices=KINDS,
        default="soft",
        metavar="KIND",
        help=f"{', '.join(KINDS)} (default: %(default)s)",
    )
    label.add_argument(
        "--generations",
        type=positive,
        default=10_000,
        metavar="N",
        help="that labels may take, solutions and completions together (default: %(default)s)",
    )
    label.add_argument("--name", metavar="NAME", help="of RUN/labels/NAME; else the kind's")
    label.add_argument("--policy", metavar="NAME", help="of a stage that ends with a policy")
    label.add_argument(
        "--rollouts",
        type=positive,
        default=8,
        metavar="N",
        help="completions of a prefix (default: %(default)s)",
    )
    label.add_argument(
        "--searches",
        type=positive,
        default=8,
        metavar="N",
        help="of bisection, for a first error, a problem (default: %(default)s)",
    )
    label.add_argument(
        "--problems",
        type=positive,
        default=32,
        metavar="N",
        help="labelled at once (default: %(default)s)",
    )
    label.add_argument(
        "--drawn",
        type=positive,
        default=1,
        metavar="N",
        help="solutions drawn a label, of which mostly the most convincing wrong one is taken",
    )
    label.add_argument(
        "--verifier", metavar="NAME", help="that says which one convinces; see `evaluate`"
    )
    label.add_argument("--seed", type=whole, default=0, metavar="S", help="(default: %(default)s)")
    label.add_argument("--ratings", metavar="FILE", help="take labels from a file instead")
    label.add_argument(
        "--form", choices=FORMS, default=FORMS[0], metavar="FORM", help=" or ".join(FORMS)
    )
    add_code(label)
    add_data_dir(label)
    add_json(label)
    label.set_defaults(run=run, act=label_steps, parser=label)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the action says."""
    del overrides
    return arguments.act(arguments)


def prepare_dataset(arguments: argparse.Namespace) -> int:
    """Builds the dataset, and prints how many problems it has."""
    from rlsearch.data.game24 import benchmark_rows

    try:
        rows = benchmark_rows(arguments.data_dir or "")
    except ValueError as error:  # the user's file is not the public one
        raise ConfigError(str(error)) from error
    result = {"name": arguments.name, "problems": len(rows)}
    emit(arguments, result, f"{arguments.name} is prepared: {len(rows)} problems")
    return 0


def compare_splits(arguments: argparse.Namespace) -> int:
    """Compares the problems of a task's splits, and prints what they have in common."""
    from rlsearch.tasks.overlap import overlap

    task = task_of(arguments.task, arguments.data_dir or "")
    result = overlap(task.problems("test"), task.problems("train"), arguments.words)
    lines = [
        f"{result['held_out']} held-out problems, {result['training']} training problems",
        f"with {result['words']} words in a row in common: {result['any']}; with half of all such "
        f"words: {result['half']}; with all of them: {result['all']}",
        *(
            f"  {found['share']:4.0%} of problem {found['number']}: {shortened(found['text'], 120)}"
            for found in result["most"]
        ),
    ]
    emit(arguments, {"task": arguments.task, **result}, "\n".join(lines))
    return 0


def label_steps(arguments: argparse.Namespace) -> int:
    """Makes the labels, and prints where they are and what they took."""
    from rlsearch.measuring.opened import open_run
    from rlsearch.stages.labelling import Labelling
    from rlsearch.training.labels import make_labels
    from rlsearch.verifiers.rated import write_ratings

    opened = open_run(arguments.run_dir, arguments.data_dir or "", arguments.code or "")
    kind = arguments.form if arguments.ratings else arguments.labels
    folder = opened.directory.path / "labels" / (arguments.name or kind)
    if arguments.ratings:
        described = opened.describe_task()
        result = write_ratings(folder, opened.task, described, arguments.ratings, kind)
        dropped = f", {result['dropped']} solutions left out" if result["dropped"] else ""
        made = f"{result['labels']} labels of {result['solutions']} solutions{dropped}"
    else:
        policy = arguments.policy or opened.default_policy()
        opened.complete_policies((policy,))
        labelling = Labelling(
            policy=policy,
            kind=arguments.labels,
            generations=arguments.generations,
            num_problems=arguments.problems,
            num_rollouts=arguments.rollouts,
            num_searches=arguments.searches,
            drawn=arguments.drawn,
            verifier=arguments.verifier or "",
        )
        result = make_labels(opened.lineage, labelling, folder, arguments.seed)
        made = f"{result['labels']} labels for {result['spent']} generations"
    emit(arguments, {"folder": str(folder), **result}, f"{made}: {folder}")
    return 0

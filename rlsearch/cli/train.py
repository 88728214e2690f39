"""`rlsearch train`: trains an experiment, or resumes it."""

import argparse
import shlex
import sys
from pathlib import PurePath

from rlsearch.cli.output import emit
from rlsearch.cli.parser import FIELDS_HELP, add_code, add_data_dir, add_json, read_config
from rlsearch.text import for_path, for_terminal

TAKES_FIELDS = True


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "train",
        help="train an experiment; the same command again resumes it",
        usage="rlsearch train CONFIG [--run-dir DIR] [--json] [--field.path value ...]",
        epilog=FIELDS_HELP,
    )
    parser.add_argument("config", metavar="CONFIG", help="a Python file, or a name in configs/")
    parser.add_argument(
        "--run-dir", metavar="DIR", help="the run's directory, by default runs/ and its name"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Trains, and prints where the run is."""
    from rlsearch.parallel.hosts import join_hosts

    # Before JAX is used, which a user's code may do when it is imported.
    arguments.stdout = join_hosts(arguments.stdout)
    config = read_config(arguments, overrides)
    run_dir = arguments.run_dir or f"runs/{for_path(config.name)}"

    # JAX takes seconds: a wrong config is found before.
    from rlsearch.parallel.agreement import is_main
    from rlsearch.training.loop import train
    from rlsearch.training.stopping import TrainingStopped

    try:
        result = train(config, run_dir)
    except TrainingStopped as stopped:
        if is_main():
            name, again = stopped.signal.name, for_terminal(_command(arguments.argv))
            print(f"stopped by {name}: {stopped}; resume with: {again}", file=sys.stderr)
        return 128 + stopped.signal
    if is_main():
        emit(arguments, result, f"trained: {run_dir}")
    return 0


def _command(argv: list[str]) -> str:
    """The command line that began this process, to be typed again."""
    program = sys.argv[0]
    module = PurePath(program).name == "__main__.py"
    return shlex.join([*([sys.executable, "-m", "rlsearch"] if module else [program]), *argv])

"""`rlsearch bench`: throughput, with the limit it is held against."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import FIELDS_HELP, add_code, add_data_dir, add_json

TAKES_FIELDS = True
KINDS = ("search", "decode")


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure throughput",
        usage="rlsearch bench {search,decode} CONFIG [--json] [--field.path value ...]",
        epilog=FIELDS_HELP,
    )
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=" or ".join(KINDS))
    parser.add_argument("config", metavar="CONFIG", help="a Python file, or a name in configs/")
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Measures, and prints the figures."""
    from rlsearch import config_file

    if arguments.code:
        config_file.load_code(arguments.code)
    if arguments.data_dir is not None:
        overrides = [*overrides, f"--task.data_dir={arguments.data_dir}"]
    config = config_file.override(config_file.load(arguments.config), overrides)

    from rlsearch.evaluation import bench

    measure = {"search": bench.bench_search, "decode": bench.bench_decode}[arguments.kind]
    result = measure(config)
    emit(arguments, result, "\n".join(f"{key}: {value}" for key, value in result.items()))
    return 0

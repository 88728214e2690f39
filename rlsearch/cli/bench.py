"""`rlsearch bench`: throughput, with the limit it is held against."""

import argparse

from rlsearch.cli.output import emit
from rlsearch.cli.parser import FIELDS_HELP, add_code, add_data_dir, add_json

TAKES_FIELDS = True
KINDS = ("search", "decode", "self_play")


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure throughput",
        usage="rlsearch bench {search,decode,self_play} CONFIG [--json] [--field.path value ...]",
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

    wanted = "self_play" if arguments.kind == "self_play" else "language"
    if config.kind != wanted:
        arguments.parser.error(f"bench {arguments.kind} is for configs of {wanted}")

    from rlsearch.evaluation import bench, bench_self_play

    measures = {
        "search": bench.bench_search,
        "decode": bench.bench_decode,
        "self_play": bench_self_play.bench_self_play,
    }
    result = measures[arguments.kind](config)
    emit(arguments, result, "\n".join(f"{key}: {value}" for key, value in result.items()))
    return 0

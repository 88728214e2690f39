"""`rlsearch bench`: throughput, with the limit it is held against."""

import argparse
import os
from typing import Any

from rlsearch.cli.output import emit
from rlsearch.cli.parser import (
    FIELDS_HELP,
    add_code,
    add_data_dir,
    add_json,
    positive,
    read_config,
)

TAKES_FIELDS = True
KINDS = ("search", "decode", "beams", "self_play", "strength", "train")


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure throughput",
        usage=f"rlsearch bench {{{','.join(KINDS)}}} CONFIG [--json] [--field.path value ...]",
        epilog=FIELDS_HELP,
    )
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=" or ".join(KINDS))
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a Python file, or a name in configs/; of decode also the folder of an open model",
    )
    group = parser.add_argument_group("bench decode of an open model")
    group.add_argument(
        "--against", choices=("transformers",), metavar="PEER", help="transformers, in turns"
    )
    group.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        metavar="TYPE",
        help="float32 (default) or bfloat16",
    )
    group.add_argument(
        "--batches", nargs="+", type=positive, metavar="B", help="texts at once, by default 1 16 64"
    )
    group = parser.add_argument_group("bench strength")
    group.add_argument("--minutes", type=float, metavar="N", help="of each loop, by default 15")
    group.add_argument(
        "--positions", metavar="FILE", help="solved positions, where the game cannot be solved here"
    )
    group.add_argument("--picture", metavar="FILE", help="a PNG to draw the curves in")
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Measures, and prints the figures."""
    named = ("against", "dtype", "batches")
    given = {name: getattr(arguments, name) for name in named if getattr(arguments, name)}
    folder = os.path.isdir(arguments.config) or (given and os.sep in arguments.config)
    if arguments.kind == "decode" and folder:
        return _run_open(arguments, given, overrides)
    for name in given:
        arguments.parser.error(f"--{name} is for bench decode of the folder of an open model")
    config = read_config(arguments, overrides)

    wanted = "self-play" if arguments.kind in ("self_play", "strength") else "language"
    kind = "self-play" if config.task is None else "language"
    if arguments.kind != "train" and kind != wanted:
        arguments.parser.error(f"bench {arguments.kind} is for configs of {wanted}")
    options = _strength_options(arguments)

    from rlsearch.benchmarks import beams, search, self_play, strength, train

    measures = {
        "search": search.bench_search,
        "decode": search.bench_decode,
        "beams": beams.bench_beams,
        "self_play": self_play.bench_self_play,
        "strength": strength.bench_strength,
        "train": train.bench_train,
    }
    result = measures[arguments.kind](config, **options)
    lines = [f"{key}: {value}" for key, value in result.items() if key != "curves"]
    emit(arguments, result, "\n".join(lines))
    return 0


def _run_open(arguments: argparse.Namespace, given: dict[str, Any], overrides: list[str]) -> int:
    """Measures the folder of an open model, which has no fields."""
    for option in overrides[:1]:
        arguments.parser.error(f"{option.partition('=')[0]} is for configs, and this is a folder")
    from rlsearch.benchmarks.open_decode import bench_open_decode

    result = bench_open_decode(arguments.config, **given)
    rows = result["batches"]
    lines = [f"{key}: {value}" for key, value in result.items() if key != "batches"]
    lines += [", ".join(f"{key}: {value:.4g}" for key, value in row.items()) for row in rows]
    emit(arguments, result, "\n".join(lines))
    return 0


def _strength_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Reads the options of `bench strength`, which no other kind has."""
    names = ("minutes", "positions", "picture")
    said = {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }
    if arguments.kind != "strength":
        for name in said:
            arguments.parser.error(f"--{name} is for bench strength alone")
        return {}
    if said.get("minutes", 1.0) <= 0.0:
        arguments.parser.error(f"--minutes is {said['minutes']:g}: it must be positive")
    return {**said, "report": print}

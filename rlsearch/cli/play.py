"""`rlsearch play`: a game against a trained run, in the terminal."""

import argparse
import io
import sys

from rlsearch.cli.output import emit
from rlsearch.cli.parser import add_code, add_json, whole

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("play", help="play against a trained run of self-play")
    parser.add_argument("run_dir", metavar="RUN", help="the run's directory")
    parser.add_argument(
        "--simulations",
        type=whole,
        metavar="N",
        help="of each of its moves, 0 for none (default: the config's)",
    )
    parser.add_argument(
        "--first",
        choices=("you", "run"),
        default="you",
        metavar="WHO",
        help="who begins, you or run (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="S", help="of chance (default: %(default)s)"
    )
    add_code(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Plays one game, and prints its moves."""
    del overrides
    from rlsearch.arena.play import play

    reader = sys.stdin or io.StringIO()  # a closed one is None
    if isinstance(reader, io.TextIOWrapper):
        reader.reconfigure(errors="replace")  # bytes that are no text are no move either
    result = play(
        arguments.run_dir,
        reader,
        sys.stdout,
        simulations=arguments.simulations,
        first=arguments.first,
        seed=arguments.seed,
        code=arguments.code or "",
    )
    moves = " ".join(turn["move"] for turn in result["moves"])
    emit(arguments, result, f"the game: {moves or 'no move'}")
    return 0

"""`rlsearch arena`: a rated tournament of runs of one game, plain searches and random moves."""

import argparse
from typing import Any

from rlsearch.cli.output import emit_results, files_of, results_of
from rlsearch.cli.parser import add_code, add_json, add_out, positive, whole
from rlsearch.results import results_in
from rlsearch.text import MAX_LABEL, for_terminal

TAKES_FIELDS = False


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("arena", help="rate runs of a game against each other")
    parser.add_argument("run_dirs", nargs="+", metavar="RUN", help="the runs' directories")
    parser.add_argument(
        "--simulations",
        nargs="+",
        type=whole,
        metavar="N",
        help="a player of each run for each number, 0 without a search; else the config's",
    )
    parser.add_argument(
        "--checkpoints",
        choices=("last", "all"),
        default="last",
        metavar="WHICH",
        help="last or all: which checkpoints of a run play (default: %(default)s)",
    )
    parser.add_argument(
        "--rollouts",
        nargs="*",
        type=positive,
        default=[16, 64],
        metavar="N",
        help="a plain search with random playouts for each number of simulations (default: 16 64)",
    )
    parser.add_argument(
        "--games",
        type=positive,
        default=32,
        metavar="N",
        help="pairs of games in a pairing, one opening each (default: %(default)s)",
    )
    parser.add_argument(
        "--opening-moves",
        type=whole,
        default=4,
        metavar="K",
        help="random moves that a game begins with (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="S", help="of all (default: %(default)s)"
    )
    add_out(parser)
    add_code(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Plays the tournament, and prints the ratings."""
    del overrides
    from rlsearch.arena.tournament import Entrants, arena

    own = results_of(arguments.run_dirs[0])
    with results_in(arguments.out or own, own) as saved:
        result = arena(
            arguments.run_dirs,
            Entrants(arguments.simulations or (), arguments.checkpoints, arguments.rollouts),
            pairs=arguments.games,
            opening_moves=arguments.opening_moves,
            seed=arguments.seed,
            code=arguments.code or "",
        )
    lines = [*_table(result["players"]), *files_of(result, saved, "table", "picture")]
    return emit_results(arguments, result, "\n".join(lines), saved)


def _table(players: list[dict[str, Any]]) -> list[str]:
    from rlsearch.arena.interval import span

    names = [for_terminal(row["name"], MAX_LABEL) for row in players]
    width = max(map(len, names))
    header = f"{'player':{width}}  {'Elo':>6}  {'95% from random':>15}  {'95% from mean':>13}"
    lines = [f"{header}  {'score':>6}  {'games':>5}"]
    for name, row in zip(names, players, strict=True):
        from_random, from_mean = (
            span(low, high, 0) if low < high else "anchor"
            for low, high in (row["ci95"], row["ci95_from_mean"])
        )
        elo = f"{row['elo']:.0f}"
        lines.append(
            f"{name:{width}}  {elo:>6}  {from_random:>15}  {from_mean:>13}"
            f"  {100 * row['score']:5.1f}%  {row['games']:5}"
        )
    return lines

"""`rlsearch plan`: what a training step needs and does on a machine that is not at hand."""

import argparse
import os
import sys
from typing import Any

from rlsearch.cli.output import emit
from rlsearch.cli.parser import FIELDS_HELP, add_code, add_data_dir, add_json, read_config

TAKES_FIELDS = True
OWN_OPTIONS = ("stages",)  # that are fields to other commands: a plan chooses, and drops no stage


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "plan",
        help="what a step needs and does on a pod, with no device at hand",
        usage="rlsearch plan CONFIG --topology NAME [--stages NAME ...] [--json] "
        "[--field.path value ...]",
        epilog=FIELDS_HELP,
    )
    parser.add_argument("config", metavar="CONFIG", help="a Python file, or a name in configs/")
    parser.add_argument(
        "--topology", metavar="NAME", required=True, help="such as v5e-16, v5p-256, h100-8x4"
    )
    parser.add_argument(
        "--stages", nargs="+", default=(), metavar="NAME", help="by default all that are trained"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Plans, and prints the tables; 1 where it does not fit, or searches wait for each other."""
    # No device is used; asked for none, JAX does not look for a TPU where libtpu is installed.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    config = read_config(arguments, overrides)

    from rlsearch.planning.plan import plan

    result = plan(
        config,
        arguments.topology,
        tuple(arguments.stages),
        report=lambda line: print(line, file=sys.stderr),
    )
    emit(arguments, result, "\n\n".join([head(result), *map(table, result["stages"])]))
    return 0 if result["fits"] and result["separate_searches"] else 1


def head(result: dict[str, Any]) -> str:
    """Says what is planned, and how the figures were come by."""
    from rlsearch.planning.compilers import compiler_of
    from rlsearch.planning.topology import find_topology

    mesh = " x ".join(f"{size} {axis}" for axis, size in result["mesh"].items())
    lines = [f"{result['config']} on {result['topology']}: {result['chips']} chips, {mesh}"]
    if result["estimate"]:
        extra = compiler_of(find_topology(result["topology"])).extra
        why = f"the extra {extra}, which has it, is not installed"
        lines.append(f"An ESTIMATE, from the step's trace and by no compiler: {why}.")
    else:
        lines.append(f"Compiled by {result['compiler']}. Planned, not measured.")
    if result["changed"]:
        fields = [f"{name} {now} for {was}" for name, (was, now) in result["changed"].items()]
        lines.append(
            "Too few problems or rows for so many devices, or no multiple of them: planned with "
            f"{', '.join(fields)}."
        )
    return "\n".join(lines)


def table(stage: dict[str, Any]) -> str:
    """One stage."""
    from rlsearch.planning.plan_fields import TEMPORARY

    needs, seconds = dict(stage["bytes_per_device"]), stage["roofline_seconds"]
    parts = {name: needs.pop(name) for name in TEMPORARY if name in needs}
    rows = [(name, _bytes(size)) for name, size in needs.items()]
    place = list(needs).index("temporaries") + 1
    rows[place:place] = [(f"  of which {name}", _bytes(size)) for name, size in parts.items()]
    rows.append(("all", f"{_bytes(stage['total_bytes'])} of {_bytes(stage['memory_bytes'])}"))

    flops = stage["flops_per_device"]
    shares = ", ".join(f"{part:.0%} {name}" for name, part in _shares(stage["flops"]))
    rows.append(("FLOPs a step", f"{flops:.3g} ({shares})"))
    shares = ", ".join(f"{part:.0%} {name}" for name, part in _shares(stage["bytes_moved"]))
    most = "at most " if stage["estimate"] else ""  # what stays on the chip is in it
    moved = sum(stage["bytes_moved"].values())
    rows.append(("bytes moved a step", f"{most}{_bytes(moved)} ({shares})"))
    if count := stage["loops_at_their_longest"]:
        rows.append(("loops counted at their longest", f"{count}: the data may end them sooner"))
    if count := stage["loops_of_unknown_length"]:
        rows.append(("loops counted as one turn", f"{count}: the data decides their length"))
    times = ", ".join(f"{name} {_seconds(value)}" for name, value in seconds.items())
    bound = f"{_seconds(stage['step_seconds'])}, bound by {stage['bound_by']} ({times})"
    rows.append(("a step takes at least", bound))
    for row in stage["collectives"]:
        over = f"{row['kind']} over {' and '.join(row['axes']) or 'nothing'}"
        rows.append((over, f"{row['runs']:g} in {row['place']}, {_bytes(row['bytes'])}"))
    estimate = " (an estimate)" if stage["estimate"] else ""
    lines = [f"  {name:<34} {value}" for name, value in rows]
    return "\n".join([f"{stage['stage']}, on each device{estimate}", *lines, *verdicts(stage)])


def _shares(sums: dict[str, float]) -> list[tuple[str, float]]:
    """Shares of a sum of one in a hundred and more, the largest first."""
    total = sum(sums.values())
    shares = sorted(((name, value / total) for name, value in sums.items()), key=lambda x: -x[1])
    return [(name, share) for name, share in shares if share >= 0.005]


def verdicts(stage: dict[str, Any]) -> list[str]:
    """Lists the faults of a stage, a line each."""
    lines = []
    if not stage["fits"]:
        shrink = stage["shrink"]
        lines.append(
            f"DOES NOT FIT: the largest term is {shrink['term']}, {_bytes(shrink['bytes'])} a "
            f"device: {shrink['field']} shrinks it"
            + (f" (the compiler: {stage['refused']})" if stage["refused"] else "")
        )
    for row in stage["forbidden_collectives"]:
        lines.append(
            f"ERROR: {row['kind']} over {', '.join(row['axes'])} in a loop of searching: "
            "searches wait for one another"
        )
    return lines


def _seconds(value: float) -> str:
    """A time for people."""
    return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.3g} s"


def _bytes(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.3g} GiB" if size < 1000 else f"{size:,.0f} GiB"

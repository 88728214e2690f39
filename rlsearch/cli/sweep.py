"""`rlsearch sweep`: one experiment with some of its fields varied, and several seeds."""

import argparse
import itertools
import signal
import subprocess
import sys

from rlsearch.cli.output import emit, say
from rlsearch.cli.parser import FIELDS_HELP, add_code, add_data_dir, add_json, whole
from rlsearch.text import for_path, for_terminal, shortened

TAKES_FIELDS = True
STOPPED = 128 + signal.SIGTERM  # the exit code of a shell's command


def add_parser(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "sweep",
        help="train an experiment with fields varied; the same command again goes on",
        usage="rlsearch sweep CONFIG --vary FIELD=VALUE,VALUE ... [--seeds S ...] "
        "[--evaluate] [--sweep-dir DIR] [--json] [--field.path value ...]",
        epilog=FIELDS_HELP,
    )
    parser.add_argument("config", metavar="CONFIG", help="a Python file, or a name in configs/")
    parser.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="FIELD=A,B",
        help="a field and its values; of several fields every combination is trained",
    )
    parser.add_argument(
        "--seeds", nargs="+", type=whole, default=[0], metavar="S", help="of the training"
    )
    parser.add_argument("--evaluate", action="store_true", help="evaluate each run when trained")
    parser.add_argument(
        "--sweep-dir", metavar="DIR", help="the runs' parent, by default runs/NAME_sweep"
    )
    add_code(parser)
    add_data_dir(parser)
    add_json(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Trains run after run, each in a process of its own, and prints where they are."""
    from rlsearch import config_file

    if arguments.code:
        config_file.load_code(arguments.code)
    base = config_file.load(arguments.config)
    varied = [_values(text, arguments.parser) for text in arguments.vary]
    fields = [field for field, _ in varied]
    if len({*fields, "seed"}) <= len(fields):
        arguments.parser.error("--vary names a field twice, or the seed, which --seeds gives")
    sweep_dir = arguments.sweep_dir or f"runs/{for_path(base.name)}_sweep"
    runs, argvs = [], []
    shared = [] if arguments.data_dir is None else [f"--data-dir={arguments.data_dir}"]
    shared += [f"--code={arguments.code}"] if arguments.code else []
    for values in itertools.product(*(values for _, values in varied)):
        chosen = dict(zip(fields, values, strict=True))
        for seed in arguments.seeds:
            given = [f"--{field}={value}" for field, value in chosen.items()]
            own = [*overrides, *given, f"--seed={seed}"]
            config_file.override(base, own)  # what is wrong is said before anything is trained
            name = "_".join(f"{field}={value}" for field, value in {**chosen, "seed": seed}.items())
            run_dir = f"{sweep_dir}/{for_path(name)}"
            runs.append({"run_dir": run_dir, "values": chosen, "seed": seed})
            argvs.append(["train", arguments.config, f"--run-dir={run_dir}", *shared, *own])
    for number, (made, argv) in enumerate(zip(runs, argvs, strict=True), start=1):
        say(f"run {number} of {len(runs)}: {made['run_dir']}")
        commands = [argv, *([["evaluate", made["run_dir"], *shared]] * arguments.evaluate)]
        for command in commands:
            if _stopped(command, made["run_dir"], arguments.json):
                return STOPPED
    emit(arguments, {"runs": runs}, f"trained: {sweep_dir}\ncompare: rlsearch report {sweep_dir}")
    return 0


def _values(text: str, parser) -> tuple[str, list[str]]:
    """The field and its values of `field=a,b`."""
    field, equals, values = text.lstrip("-").partition("=")
    if not field or not equals or not all(values.split(",")):
        parser.error(f"--vary is {shortened(text)}: give a field and its values, such as seed=0,1")
    return field, values.split(",")


def _stopped(argv: list[str], run_dir: str, json: bool) -> bool:
    """Runs one command and says whether SIGTERM ended it, which is passed on for it to save.

    Raises:
        RuntimeError: if it does not end well.
    """
    command = [sys.executable, "-m", "rlsearch", *argv]
    ended = f"{argv[0]} of {for_terminal(run_dir)} ended"
    kept = "what is trained is kept, and the same command goes on from there"
    asked: list[int] = []  # signals that came before there was a process
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        with subprocess.Popen(command, stdout=sys.stderr if json else None) as process:
            signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
            for number in asked:
                process.send_signal(number)
            try:
                code = process.wait()
            except KeyboardInterrupt:  # the training has had it too, and saves what it did
                process.wait()
                raise
    finally:
        signal.signal(signal.SIGTERM, before)
    stopped = code in (-signal.SIGTERM, STOPPED)
    if stopped:
        print(f"{ended} by SIGTERM: {kept}", file=sys.stderr)
    elif code != 0:
        raise RuntimeError(f"{ended} with exit code {code}: {kept}")
    return stopped

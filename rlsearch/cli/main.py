"""The console script `rlsearch`.

Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted; a training that stops and saves on a
signal ends with 128 and its number: 129 for SIGHUP, 130 for SIGINT and 143 for SIGTERM. SIGUSR1, by
which schedulers warn of a time limit, saves and ends nothing. A failure is one line on standard
error; with RLSEARCH_TRACEBACK=1 the traceback stands before it.
"""

import contextlib
import os
import sys
import traceback
import types
from collections.abc import Sequence

from rlsearch.cli import (
    arena,
    bench,
    chat,
    data,
    evaluate,
    export,
    import_,
    inspect,
    plan,
    play,
    report,
    solve,
    sweep,
    train,
)
from rlsearch.cli.output import safe_output
from rlsearch.cli.parser import Parser, check_places, unknown
from rlsearch.cli.quiet import quiet_libraries
from rlsearch.config_data import SEVERAL, ConfigError
from rlsearch.jax_switches import check_jax_switches
from rlsearch.parallel.compilation_cache import repair_compilation_cache, use_compilation_cache
from rlsearch.parallel.hosts import leave
from rlsearch.text import sentence, shortened

COMMANDS = (
    *(
        train,
        evaluate,
        solve,
        sweep,
        report,
        arena,
        chat,
        play,
        inspect,
        export,
        import_,
        plan,
        bench,
        data,
    ),
)


TOP_FIELDS = ("name", "seed", "stages", "evaluation")  # of a config, without a group


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (by default the process's own) and returns the exit code."""
    use_compilation_cache()
    safe_output()
    try:
        with quiet_libraries():
            repair_compilation_cache()
            code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # a closed pipe should show here, not when Python exits
        return code
    except BrokenPipeError:
        # Whoever read the output has had enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        _report("interrupted")
        return 130
    except SystemExit as error:  # nothing of ours ends so
        _report(f"error: a class of --code, or a library, ended the command with {error!r}")
        leave(error, explained=True)
        return 1
    except Exception as error:
        code = _exit_code(error)
        if code is not None:
            _report(f"error: {sentence(_sentence(error))}")
        if code != 2:  # bad usage is found by all processes of a run alike
            leave(error, explained=code is not None)
        if code is None:
            raise
        return code


def _run(argv: list[str]) -> int:
    parser = Parser(prog="rlsearch", description="Search-augmented reinforcement learning in JAX.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    taking = {_name(command): command for command in COMMANDS if command.TAKES_FIELDS}
    overrides, rest, top = [], argv, []
    if argv and argv[0] in taking:
        own = getattr(taking[argv[0]], "OWN_OPTIONS", ())
        top = [name for name in TOP_FIELDS if name not in own]
        overrides, rest = _split_fields(argv, top)
    try:
        arguments, extra = parser.parse_known_args(rest)
    except SystemExit as exit:  # only --help: errors are raised
        return int(exit.code or 0)
    if extra:
        fields = [f"--{name}" for name in top]
        _refuse(extra[0].partition("=")[0], arguments.parser, fields)
    check_places(arguments)
    arguments.stdout, arguments.argv = sys.stdout, argv
    check_jax_switches()
    with contextlib.redirect_stdout(sys.stderr if arguments.json else sys.stdout):
        return arguments.run(arguments, overrides)


def _name(command: types.ModuleType) -> str:
    return command.__name__.rpartition(".")[2].rstrip("_")  # a keyword is no module's name


def _split_fields(argv: list[str], top: Sequence[str]) -> tuple[list[str], list[str]]:
    """Config fields with their values, and the rest, which is argparse's.

    argparse would take a value of an option that it does not know for a positional argument.

    Args:
        top: the fields without a group, but for those whose name is an option of the command.
    """
    fields, rest = [], []
    room = 0  # values that the field before may still take
    for argument in argv:
        path = argument[2:].partition("=")[0].replace("-", "_")
        if argument.startswith("--") and (path in top or "." in path):
            several = path.rpartition(".")[2] in SEVERAL
            room = sys.maxsize if several else int("=" not in argument)
            fields.append(argument)
        elif room and not argument.startswith("--"):
            room -= 1
            fields.append(argument)
        else:
            room = 0
            rest.append(argument)
    return fields, rest


def _refuse(argument: str, parser: Parser, fields: list[str]) -> None:
    """Raises that argparse has no use for `argument`; `fields` may be set beside the options."""
    if argument.startswith("-"):
        parser.error(unknown("option", argument, [*parser.options(), *fields]))
    parser.error(f"{shortened(argument)} is one argument too many")


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that its message explains, or None for a fault of ours."""
    # Importing the class would import JAX; where it was raised, its module has been imported.
    store = sys.modules.get("rlsearch.checkpoints.store")
    if isinstance(error, ConfigError | FileNotFoundError):
        return 2
    if store and isinstance(error, store.CheckpointError):
        return 1
    if isinstance(error, ValueError) and _is_ours(error):
        return 2
    if _needs_gcs(error):
        return 1
    if isinstance(error, OSError | RuntimeError | FloatingPointError):
        # These two say that a program is wrong, and only the traceback says where.
        return None if isinstance(error, RecursionError | NotImplementedError) else 1
    return None


def _needs_gcs(error: Exception) -> bool:
    return isinstance(error, ImportError) and "gcsfs" in str(error)


def _is_ours(error: Exception) -> bool:
    """Tells whether the package raised it: its sentences are for the user, those of JAX for us."""
    if any("JAX has removed" in note for note in getattr(error, "__notes__", ())):
        return False  # it hides its own frames, behind which the last one would be ours
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("rlsearch.")


def _sentence(error: Exception) -> str:
    if _needs_gcs(error):
        return "gs:// is read by the package gcsfs, which is not installed: install the extra gcs"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _report(line: str) -> None:
    if os.environ.get("RLSEARCH_TRACEBACK") == "1":
        traceback.print_exc()
    print(line, file=sys.stderr)

"""Commands as a user types them, in this process."""

import contextlib
import io
import json
import sys

import pytest

from rlsearch.cli.main import main


def call(*argv, lines: str | None = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that is given `lines`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", None if lines is None else io.StringIO(lines))
            code = main([str(argument) for argument in argv])
    return code, out.getvalue(), err.getvalue()


def succeed(*argv) -> str:
    """Standard output of a command that does what it is asked."""
    code, out, err = call(*argv)
    assert code == 0, err
    return out


def read_json(*argv) -> dict:
    """What a command with --json prints: one object, one line, nothing else."""
    out = succeed(*argv, "--json")
    assert out.count("\n") == 1
    return json.loads(out)


def fail(*argv) -> str:
    """The one sentence of a command that cannot be done as asked."""
    code, out, err = call(*argv)
    assert (code, out) == (2, ""), err
    return the_error(err)


def the_error(err: str) -> str:
    """The one sentence on standard error; before it, a training says at once what it does."""
    first, _, rest = err.partition("\n")
    said = rest if ": preparing to train in " in first and not first.startswith("error") else err
    assert said.startswith("error: ") and said.count("\n") == 1, err
    return said

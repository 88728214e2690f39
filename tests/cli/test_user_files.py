"""Whatever a user's Python file does when it is read is one sentence about that file."""

import sys

import pytest

from rlsearch.cli import solve
from tests.commands import call

ODD = "class Odd(BaseException):\n    def __str__(self):\n        raise SystemExit(0)\nraise Odd"
DOES = {
    "exits": ("import sys; sys.exit(0)", "it ends Python (SystemExit)"),
    "exits_with_a_word": ("raise SystemExit('done')", "it ends Python (SystemExit)"),
    "quits": ("import builtins; raise SystemExit", "it ends Python (SystemExit)"),
    "no_exception": ("raise BaseException('a')", "BaseException: a"),
    "generator": ("raise GeneratorExit", "GeneratorExit"),
    "own": ("class Own(BaseException): ...\nraise Own(3)", "Own: 3"),
    "several_lines": ("raise RuntimeError('a\\nb')", "RuntimeError: a b"),
    "escape": ("raise RuntimeError('\\x1b[2J\\0\\ud800')", r"RuntimeError: \x1b[2J\x00\ud800"),
    "long": ("raise ValueError('x' * 10_000)", "..."),
    "memory": ("raise MemoryError", "MemoryError"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "syntax": ("config = (", "SyntaxError"),
    "null": ("\0", "does not run"),
    "no_text": ("\ud800", "does not run"),
    "no_message": (ODD.replace("SystemExit(0)", "ValueError"), "Odd"),
}


@pytest.mark.parametrize("how", ["config", "code", "code_of_a_run"])
@pytest.mark.parametrize("does", DOES)
def test_a_file_that_does_not_run_is_named(tmp_path, does, how):
    text, said = DOES[does]
    file = tmp_path / "mine.py"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    argv = {
        "config": ["sweep", file],
        "code": ["sweep", "game24", "--code", file],
        "code_of_a_run": ["solve", tmp_path, "4", "--code", file],
    }[how]
    code, out, err = call(*argv)
    assert (code, out) == (2, "") and err.count("\n") == 1 and err[:-1].isprintable()
    assert err.startswith(f"error: {file} does not run: ") and said in err and len(err) < 500
    assert "mine" not in sys.modules


@pytest.mark.parametrize("argv", [["sweep", "FILE"], ["sweep", "game24", "--code", "FILE"]])
def test_an_interruption_stays_one(tmp_path, argv):
    file = tmp_path / "mine.py"
    file.write_text("raise KeyboardInterrupt")
    assert call(*(file if word == "FILE" else word for word in argv)) == (130, "", "interrupted\n")


@pytest.mark.parametrize("code", [0, 1, "done", None])
def test_a_class_that_exits_has_not_done_the_work(monkeypatch, code):
    def run(arguments, overrides):
        raise SystemExit(code)

    monkeypatch.setattr(solve, "run", run)
    found, out, err = call("solve", "run", "4")
    assert (found, out) == (1, "") and "ended the command with SystemExit" in err


@pytest.mark.parametrize("how", ["config", "code"])
def test_a_file_of_any_size_is_no_program(tmp_path, how):
    """It takes no disk, and Python would read all of it into memory."""
    file = tmp_path / "mine.py"
    with file.open("wb") as hole:
        hole.truncate(8 * 2**30)
    argv = ["sweep", file] if how == "config" else ["sweep", "game24", "--code", file]
    code, out, err = call(*argv)
    assert code == 2 and not out
    assert err.count("\n") == 1 and "is too large for a Python file" in err

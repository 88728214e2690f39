"""Every command says what is wrong in one bounded line, and prints what it found, whatever names
it is given."""

import argparse
import ast
import json
import pathlib

import pytest

import rlsearch
from rlsearch.arena import tournament
from rlsearch.cli import main as main_module
from rlsearch.cli import output, solve
from rlsearch.cli.parser import Parser
from rlsearch.config_data import to_data
from rlsearch.runs.directory import RunDirectory
from tests.boards import tiny_board_experiment
from tests.commands import call, fail
from tests.names import HOSTILE

PACKAGE = pathlib.Path(rlsearch.__file__).parent
FIELDS = ("--task.cls", "--search.policy", "--name", "--seed", "--no.field", "--model.num_layers")
# A hostile word: all that is hostile to a terminal, and long.
WORD = "".join(HOSTILE[kind] for kind in ("escape", "bell", "override", "newline", "surrogate"))
LONG = WORD + "x y" * 2_000


def parsers() -> dict[str, argparse.ArgumentParser]:
    top = Parser(prog="rlsearch")
    inner = top.add_subparsers()
    for command in main_module.COMMANDS:
        command.add_parser(inner)
    return dict(inner.choices)


COMMANDS = parsers()


def positional(command: str) -> list[argparse.Action]:
    return [action for action in COMMANDS[command]._actions if not action.option_strings]


def usual(command: str, **given: str) -> list[str]:
    """A command with a word for each of its arguments, the first of the choices if it has some."""
    words = [command]
    for action in positional(command):
        word = next(iter(action.choices)) if action.choices else "/nowhere/x"
        words.append(given.get(action.dest, word))
    return words


def with_option(command: str, action: argparse.Action, word: str) -> list[str]:
    return [*usual(command), f"{action.option_strings[-1]}={word}"]


ARGUMENTS = [
    *((command, action) for command in COMMANDS for action in positional(command)),
    *(
        (command, action)
        for command, parser in COMMANDS.items()
        for action in parser._actions
        if action.option_strings and action.nargs != 0
    ),
]


@pytest.mark.parametrize("word", [WORD, LONG], ids=["short", "long"])
@pytest.mark.parametrize(("command", "action"), ARGUMENTS, ids=lambda x: getattr(x, "dest", x))
def test_every_argument_is_refused_in_one_bounded_line(command, action, word):
    if action.option_strings:
        argv = with_option(command, action, word)
    else:
        argv = usual(command, **{action.dest: word})
    code, out, err = call(*argv)
    assert code == 2 and out == "", err
    line = err.removesuffix("\n")
    assert line.startswith("error: ") and line.isprintable() and len(line) < 1_000
    assert line.count("x y") <= 70


@pytest.mark.parametrize("field", FIELDS)
def test_every_kind_of_field_is_refused_in_one_bounded_line(field, tmp_path):
    config = tmp_path / "small.py"
    config.write_text("from rlsearch.config import Experiment\nconfig = Experiment()\n")
    code, _, err = call("sweep", config, "--vary", f"seed={LONG}", field, LONG)
    assert code == 2 and err.removesuffix("\n").isprintable() and len(err) < 2_100


@pytest.mark.parametrize(("command", "action"), ARGUMENTS, ids=lambda x: getattr(x, "dest", x))
def test_no_place_is_elsewhere(command, action):
    for word in ("http://host/x.csv", "file:///etc/passwd", "s3://bucket/x"):
        if action.option_strings:
            argv = with_option(command, action, word)
        else:
            argv = usual(command, **{action.dest: word})
        if action.dest == "problem":
            continue
        assert "Traceback" not in fail(*argv)


def test_a_problem_may_be_any_text():
    assert "config.json" in fail("solve", "/nowhere/x", "http://host/x is a problem")


def test_what_a_command_prints_moves_no_cursor(monkeypatch):
    def run(arguments, overrides):
        output.say(WORD)
        output.emit(arguments, {"name": WORD}, f"first\n{WORD}")
        raise RuntimeError(WORD)

    monkeypatch.setattr(solve, "run", run)
    code, out, err = call("solve", "run", "4")
    assert code == 1 and (out + err).replace("\n", "").isprintable()
    assert out.splitlines()[1] == "first" and err.count("\n") == 1
    code, out, _ = call("solve", "run", "4", "--json")
    assert out.isascii() and json.loads(out) == {"name": WORD}


def test_players_are_named_in_a_table_of_rows(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"format": 2, **to_data(tiny_board_experiment())})
    )
    row = {"elo": 0.0, "ci95": (0, 0), "ci95_from_mean": (0, 0), "score": 0.5, "games": 2}
    players = [{"name": name, **row} for name in HOSTILE.values()]
    monkeypatch.setattr(tournament, "arena", lambda *_, **__: {"players": players})
    code, out, _ = call("arena", tmp_path)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 1 + len(players)
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) < 150
    assert all(line.isprintable() for line in lines)


def test_no_folder_is_read_as_a_pattern():
    """`[1]` in its name would hide what is in it."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in ("glob", "rglob", "iglob"):
                # `pathlib` takes its own path literally, `epath` does not; `quiet.py` looks for
                # devices, by patterns of its own.
                assert file.name in ("config_file.py", "compilation_cache.py", "quiet.py"), file


@pytest.mark.parametrize("name", ["a[1]", "a]", "a\\b", "a\x1bb", "a\nb", "a\udcffb"])
def test_no_run_is_begun_where_a_checkpoint_would_be_lost(tmp_path, name):
    with pytest.raises(ValueError, match="no checkpoint can be saved below a name"):
        RunDirectory(tmp_path / name / "run")
    assert list(tmp_path.iterdir()) == []
    for fine in ("a b", "$x$", "a{1}*?", "数独"):
        RunDirectory(tmp_path / fine)

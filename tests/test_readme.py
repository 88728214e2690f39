"""What README.md says to type still parses, and what it points to is there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rlsearch import config_file
from rlsearch.cli import main as main_module
from rlsearch.cli.main import main
from rlsearch.strategies.base import load_strategy

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
ASSIGNMENT = re.compile(r"[A-Z_]+=")


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def split(line: str) -> tuple[list[str], list[str]]:
    """The names of the variables set before a command, and its words."""
    words = shlex.split(line, comments=True)
    names = []
    while words and ASSIGNMENT.match(words[0]):
        names.append(words.pop(0).partition("=")[0])
    return names, words


LINES = [
    line for line in "".join(blocks("bash")).replace("\\\n", " ").splitlines() if split(line)[1]
]
COMMANDS = [line for line in LINES if split(line)[1][0] == "rlsearch"]
SCRIPTS = [line for line in LINES if split(line)[1][0] == "bash"]


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """Commands check what they are given and do nothing; the README's own configs exist."""

    def run(arguments, overrides):
        if hasattr(arguments, "config"):
            config_file.override(config_file.load(arguments.config), overrides)
        for name in getattr(arguments, "strategies", None) or ():
            if ":" not in name:  # a reader's own
                load_strategy(name)
        return 0

    for command in main_module.COMMANDS:
        monkeypatch.setattr(command, "run", run)
    for block in blocks("python"):
        path = tmp_path / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    monkeypatch.chdir(tmp_path)


def test_every_line_is_a_command_and_every_command_has_a_line():
    assert sorted(COMMANDS + SCRIPTS) == sorted(LINES)
    shown = {split(line)[1][1] for line in COMMANDS}
    assert shown == {main_module._name(command) for command in main_module.COMMANDS}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_parses(parsed, capsys, line):
    assert main(split(line)[1][1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_is_there_and_takes_its_arguments(parsed, capsys, line):
    names, (_, script, *arguments) = split(line)
    path = ROOT / script
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    text = path.read_text() + (ROOT / "launch" / "common.sh").read_text()
    for name in names:
        read = (f"${{{name}:-", f"${{{name}:+", f"need {name} ")
        assert any(form in text for form in read), f"{script} does not read {name}"
    if script == "launch/local.sh":
        while arguments and arguments[0] in ("--processes", "--devices", "--restarts"):
            arguments = arguments[2:]  # the script's own
        assert main(["train", str(ROOT / "configs" / "game24.py"), *arguments]) == 0
    elif "--dry-run" in arguments:
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        arguments.remove("--dry-run")
        assert main(["train", *arguments]) == 0
    else:
        assert all(argument in text for argument in arguments)


def test_fields_and_files_that_the_text_names_exist():
    fields = config_file.all_field_types()
    groups = {path.partition(".")[0] for path in fields if "." in path}
    text = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`\s]+)`", text):
        group, dot, name = span.removeprefix("--").partition(".")
        if dot and group in groups:
            assert any(
                re.fullmatch(f"{group}.{name.replace('*', '.+')}", path) for path in fields
            ), f"{span} is no field"
        if re.match("(rlsearch|configs|launch|tests|docs)/", span):
            assert (ROOT / span).exists(), f"{span} does not exist"


def test_nothing_is_left_to_fill_in():
    assert sorted(set(re.findall("@@.*?@@", README))) == []
    assert "@@" not in README


def test_every_image_and_linked_file_exists():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).is_file()] == []

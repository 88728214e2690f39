"""Commands in README.md, docs/ and the docstrings of configs parse; what these point to is there.

`test_docs_run.py` runs the commands that are quick, and every program.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rlsearch import config_file
from rlsearch.cli import main as main_module
from rlsearch.cli.main import main
from rlsearch.config_data import leaves
from rlsearch.strategies.base import load_strategy
from tests.doc_pages import (
    COMMANDS,
    DOCSTRINGS,
    FENCE,
    LINES,
    README,
    ROOT,
    SCRIPTS,
    TEXTS,
    blocks,
    commands,
    prose,
    split,
    write_programs,
)
from tests.test_rooms import DOWN

README_LINES, DOCSTRING_LINES = 160, 25
RESULTS = TEXTS["docs/results.md"]
NAMES = [main_module._name(command) for command in main_module.COMMANDS]


def spans(text: str) -> list[str]:
    """Code spans of a text, each in one line."""
    return [" ".join(span.split()) for span in re.findall("`([^`]+)`", prose(text))]


def anchors(text: str) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall("^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


SPANS = sorted(
    {
        span.replace(" NAME", " game24")
        for text in (*TEXTS.values(), *DOCSTRINGS.values())
        for span in spans(text)
        if re.match(r"rlsearch [a-z]\w* \S", span)
    }
)
# A config that is on no page but in parts of it: every stage, every study, every group of fields.
EVERY = (
    ["arithmetic", "--stages", "base", "search_distillation", "prm", "orm", "revision"],
    ["game24", "--prompting.cls", "rlsearch.tasks.prompting:FewShot"],
    ["arithmetic_labels"],
    ["tic_tac_toe"],
)
FIELDS = {
    path
    for name, *arguments in EVERY
    for path in leaves(config_file.override(config_file.load(name), arguments))
}
NO_FIELD = r"\.(py|md|json|jsonl|png|html|csv|npz|sh|sbatch|yaml|toml)$|^(jax|rlsearch)\."
TYPED = {
    name: commands(textwrap.dedent("".join(re.findall("^    .*\n", text, re.MULTILINE))))
    for name, text in DOCSTRINGS.items()
}


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """Commands check what they are given and do nothing; the pages' own files exist."""

    def run(arguments, overrides):
        if getattr(arguments, "code", None):
            config_file.load_code(arguments.code)
        if hasattr(arguments, "config") and not arguments.config.startswith("models/"):
            config_file.override(config_file.load(arguments.config), overrides)
        for name in getattr(arguments, "strategies", None) or ():
            if ":" not in name:  # a reader's own
                load_strategy(name)
        return 0

    for command in main_module.COMMANDS:
        monkeypatch.setattr(command, "run", run)
    write_programs(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    for block in blocks("python"):  # others read files of the same names
        sys.modules.pop(Path(block.partition("\n")[0].removeprefix("# ")).stem, None)


def test_every_line_is_a_command_and_every_command_has_a_line():
    languages = [
        re.match("```(.*)", fence)[1] for text in TEXTS.values() for fence in FENCE.findall(text)
    ]
    assert set(languages) == {"", "bash", "python", "bibtex"}  # what is typed is marked as such
    assert sorted(COMMANDS + SCRIPTS) == sorted(LINES)
    assert {split(line)[1][1] for line in COMMANDS} == set(NAMES)


@pytest.mark.parametrize("line", [*COMMANDS, *SPANS])
def test_a_command_parses(parsed, capsys, line):
    assert main(split(line)[1][1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_a_docstring_of_a_config_names_commands_that_parse(parsed, capsys, name):
    words = [word for line in TYPED[name] for word in (*split(line)[1], "&&")]
    typed = [part.split() for part in " ".join(words).split("&&") if part.strip()]
    assert ["rlsearch", "train", name] in [argv[:3] for argv in typed]
    for program, *argv in typed:
        if program == "bash":
            assert (ROOT / argv[0]).is_file()
        else:
            assert (program, main(argv)) == ("rlsearch", 0), capsys.readouterr().err


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_a_docstring_of_a_config_is_short_and_its_numbers_are_those_of_the_results(name):
    text = DOCSTRINGS[name]
    assert len(text.splitlines()) <= DOCSTRING_LINES
    wide = [
        line for line in text.splitlines() if len(re.findall(r"(?:  |\|) *[\d.,]+%?", line)) > 1
    ]
    assert not wide, "a table belongs into docs/results.md"
    heading = re.search('docs/results.md, "([^"]+)"', " ".join(text.split()))
    assert heading, "which section of docs/results.md has the rest?"
    assert re.search(f"^#+ {re.escape(heading[1])}$", RESULTS, re.MULTILINE)
    sentences = re.sub("^    .*$|`[^`]+`", "", text, flags=re.MULTILINE)
    measured = re.findall(r"\d[\d,]*[.:]\d+|\d+,\d{3}|\d+(?=%)", sentences)
    assert measured or name == "chess"
    for number in measured:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", RESULTS), number


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


def test_the_readme_is_short_and_its_few_numbers_are_those_of_the_results():
    text = README.read_text()
    assert len(text.splitlines()) <= README_LINES
    for number in re.findall(r"\d+\.\d+(?=%)", text):
        assert number in RESULTS


@pytest.mark.parametrize("page", sorted(TEXTS.keys() - {"docs/results.md"}))
def test_measured_numbers_stand_in_no_table_but_those_of_the_results(page):
    row = re.search(r"^\|.*(\d[.]\d|\d%)", prose(TEXTS[page]), re.MULTILINE)
    assert not row, f"{row and row[0]} belongs into docs/results.md"


def test_the_readme_has_all_pages_and_all_rooms_in_the_order_of_imports():
    text = README.read_text()
    guide = re.findall(r"^\| \[.*?\]\((.*?)\)", text, re.MULTILINE)
    assert sorted(guide) == sorted(name for name in TEXTS if name != "README.md")
    table = text.partition("| room of `rlsearch/` | contents |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert re.findall("`(.*?)`", " ".join(cells)) == DOWN


@pytest.mark.parametrize("page", TEXTS)
def test_fields_and_files_that_a_page_names_exist(page):
    for span in spans(TEXTS[page]):
        for word in span.split():
            path = word.removeprefix("--")
            # All that looks like a field: a word of parts that is no file and no name of Python's.
            if re.fullmatch(r"[a-z_]\w*(\.(\w+|\*))+", path) and not re.search(NO_FIELD, path):
                pattern = re.escape(path).replace(r"\*", ".+")
                assert any(re.fullmatch(pattern, field) for field in FIELDS), f"{word} is no field"
            if re.match("(rlsearch|configs|launch|tests|docs)/", word):
                assert (ROOT / word).exists(), f"{word} does not exist"
        if match := re.fullmatch(r"rlsearch ([a-z]\w*)", span):
            assert match[1] in NAMES, f"{span} is no command"


@pytest.mark.parametrize("page", TEXTS)
def test_images_links_and_anchors_of_a_page_exist(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", TEXTS[page])):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = folder / name if name else ROOT / page
        assert path.is_file(), target
        if anchor:
            assert anchor in anchors(path.read_text()), target


def test_every_picture_is_shown_and_every_program_names_its_file():
    shown = re.findall(r"!\[[^]]+\]\((?:docs/)?([^)]+)\)", "".join(TEXTS.values()))
    assert {path.name for path in (ROOT / "docs").glob("*.png")} == set(shown)
    names = [block.partition("\n")[0] for block in blocks("python")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"# (configs/)?[a-z0-9_]+\.py", name) for name in names)


@pytest.mark.parametrize("page", TEXTS)
def test_nothing_is_left_to_fill_in_and_no_path_is_of_one_machine(page):
    assert not re.findall(r"@@|TODO|(?<![\w.])/(?:work|tmp|home|root)\b", TEXTS[page])


def test_the_stage_of_the_pages_is_the_one_that_is_tested():
    (block,) = [block for block in blocks("python") if block.startswith("# own_stage.py\n")]
    own = (ROOT / "tests" / "own_stage.py").read_text()
    assert block.partition("\n")[2] == own and len(own.splitlines()) <= 60

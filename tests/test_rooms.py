"""Imports run one way: a room knows the rooms below it and none above."""

import ast
from pathlib import Path

import pytest

import rlsearch

PACKAGE = Path(rlsearch.__file__).parent
DOWN = """cli pages benchmarks studies arena planning sharing measuring training stages runs
strategies objectives search verifiers decoding pretrained networks checkpoints environments tasks
data parallel""".split()
LARGEST = 0.12  # share of the package's lines that one room may hold


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("rlsearch.")}


def num_lines(files) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def test_every_room_has_its_place():
    assert sorted(DOWN) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("room", DOWN)
def test_a_room_imports_none_above_it(room):
    above = set(DOWN[: DOWN.index(room)])
    wrong = [
        (file.name, name)
        for file in sorted((PACKAGE / room).rglob("*.py"))
        for name in sorted(imported(file) & above)
    ]
    assert not wrong


@pytest.mark.parametrize("room", DOWN)
def test_a_room_is_no_house(room):
    share = num_lines((PACKAGE / room).rglob("*.py")) / num_lines(PACKAGE.rglob("*.py"))
    assert share <= LARGEST, f"{room} holds {share:.1%} of the package: it is more than one idea"


def test_what_every_room_may_import_imports_no_room():
    """The modules that no room owns: of them `config_file` and the likes may name each other."""
    own = {path.stem for path in PACKAGE.glob("*.py")}
    wrong = {path.stem: imported(path) - own for path in PACKAGE.glob("*.py")}
    del wrong["__main__"]  # the program begins there
    assert not any(wrong.values()), wrong

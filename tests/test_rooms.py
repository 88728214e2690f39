"""Imports run one way: a room knows the rooms below it and none above."""

import ast
from pathlib import Path

import pytest

import rlsearch

PACKAGE = Path(rlsearch.__file__).parent
DOWN = """cli pages benchmarks studies arena planning sharing measuring training stages runs
strategies objectives search verifiers decoding networks checkpoints environments tasks data
parallel""".split()


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("rlsearch.")}


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

"""What is public says what it is or does: its docstring opens with a noun or a verb."""

import ast
import re
from pathlib import Path

import pytest

import rlsearch

PACKAGE = Path(rlsearch.__file__).parent
# Words that open a clause and leave it to the reader to find the noun or the verb.
CLAUSES = """What Who Whose Which How Whether Where When Why That Of As In From If By
With""".split()
FILES = sorted(PACKAGE.rglob("*.py"))


def public(tree: ast.Module):
    """The module, its public classes and functions, and those of the public classes."""
    yield tree
    inside: list[ast.AST] = [tree]
    for node in inside:
        for child in ast.iter_child_nodes(node):
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            if isinstance(child, kinds) and not child.name.startswith("_"):
                yield child
                inside += [child] if isinstance(child, ast.ClassDef) else []


def opens_with_a_clause(docstring: str) -> bool:
    first = re.match(r"\W*(\w+)", docstring)
    return first is not None and first[1] in {*CLAUSES, *map(str.lower, CLAUSES)}


@pytest.mark.parametrize(
    ("docstring", "wrong"),
    [
        ("What a task is.", True),
        ("whether it is right.", True),
        ("As `write`, for drafts.", True),
        ("`[B]` int32, the tokens of a draft.", False),
        ("Tells whether it is right.", False),
        ("Inside a run.", False),
    ],
)
def test_a_clause_is_found(docstring, wrong):
    assert opens_with_a_clause(docstring) == wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_open_with_a_noun_or_a_verb(path):
    wrong = [
        f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}: {found.splitlines()[0]}"
        for node in public(ast.parse(path.read_text()))
        if (found := ast.get_docstring(node)) and opens_with_a_clause(found)
    ]
    assert not wrong, "\n".join(wrong)

"""No function takes so many arguments that they should be a value."""

import ast
from pathlib import Path

import pytest

import rlsearch

PACKAGE = Path(rlsearch.__file__).parent
MOST = 7  # arguments; `self` and `cls` are none


def num_arguments(function) -> int:
    """Those that a caller may give, `*args` and `**kwargs` as one each."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    first = [*given.posonlyargs, *given.args][:1]
    bound = bool(first) and first[0].arg in ("self", "cls")
    return len(every) - bound + bool(given.vararg) + bool(given.kwarg)


def functions(text: str):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("def f(): pass", 0),
        ("def f(self, a): pass", 1),
        ("def f(a, /, b, *, c, **d): pass", 4),
        ("async def f(cls, *a): pass", 1),
        ("x = lambda a, b=1: 0", 2),
    ],
)
def test_arguments_are_counted(text, number):
    assert [num_arguments(node) for node in functions(text)] == [number]


def test_no_function_takes_too_many():
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} takes {num_arguments(node)}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in functions(path.read_text())
        if num_arguments(node) > MOST
    ]
    assert not wrong, "\n".join(wrong)

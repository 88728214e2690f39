"""The programs of docs/python_api.md run, one after the other, and the public names are there."""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlsearch
from tests.pretrained.folders import open_folder
from tests.tiny import tiny_experiment, write_config_file

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python_api.md").read_text()
PROGRAMS = [part.partition("```")[0] for part in PAGE.split("```python\n")[1:]]
MODEL = "models/SmolLM2-135M-Instruct"  # of random weights, and small
# The page trains the default config; here its name is that of a tiny one.
QUICK = {'"500"': '"3"', "num_simulations=32": "num_simulations=4", "solutions=16": "solutions=2"}


def test_every_program_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").mkdir()
    write_config_file(tmp_path / "configs" / "game24.py", tiny_experiment())
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODEL).mkdir(parents=True)
    open_folder(tmp_path / MODEL)
    names: dict = {}
    for number, program in enumerate(PROGRAMS):
        for slow, quick in QUICK.items():
            program = program.replace(slow, quick)
        exec(compile(program, f"program {number} of python_api.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "best_of_n" in shown and "'distilled': 6" in shown
    assert names["decision"].improved_policy.shape == (4, 8)
    assert (tmp_path / "runs/game24/evaluations/held_out.png").exists()
    assert {row["budget"] for row in names["result"]["summary"]} == {1, 4}


def test_the_page_uses_what_it_exports_and_every_export_is_there():
    for name in rlsearch.__all__:
        found = getattr(rlsearch, name)
        assert found.__module__ == rlsearch._MODULES[name], name
        assert inspect.getdoc(found), name
    assert set(rlsearch.__all__) <= set(dir(rlsearch))
    with pytest.raises(AttributeError, match="no name 'Writr'"):
        rlsearch.Writr  # noqa: B018


def test_importing_the_package_imports_nothing_else():
    code = "import sys, rlsearch; print([m for m in sys.modules if m in ('jax', 'flax', 'numpy')])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_all_strategies_stages_and_tasks_are_exported():
    from rlsearch.classes import classes_of
    from rlsearch.config import ENVIRONMENT, STAGE, STRATEGY, TASK

    for kind in (STRATEGY, STAGE, TASK, ENVIRONMENT):
        for cls in classes_of(kind).values():
            assert importlib.import_module(cls.__module__).__dict__[cls.__name__] is cls
            assert getattr(rlsearch, cls.__name__) is cls

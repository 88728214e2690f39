"""Commands test the place for results before the work, and print what they found in any case."""

import json
import shutil
import types

import pytest

from rlsearch import figure
from rlsearch.arena import opening, perfect_play, returns, tournament
from rlsearch.cli import evaluate
from rlsearch.config_data import to_data
from rlsearch.measuring import opened as measuring
from rlsearch.pages import inspect, report
from rlsearch.runs.directory import RunDirectory, write_json, write_text
from tests.boards import tiny_board_experiment
from tests.commands import call, read_json
from tests.golden_runs import FOLDER
from tests.tiny import tiny_experiment

CASES = {
    "evaluate RUN": ["evaluate", "RUN"],
    **{name: ["evaluate", "RUN", "--suite", name] for name in evaluate.SUITES},
    "exchange": ["evaluate", "RUN", "--suite", "exchange", "--against", "x"],
    "evaluate BOARD": ["evaluate", "BOARD"],
    "evaluate SOLITARY": ["evaluate", "SOLITARY"],
    "arena": ["arena", "BOARD"],
    "inspect": ["inspect", "RUN", "4 7 8 8"],
    "report": ["report", "RUN"],
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Two runs, and what measures them: it writes as all do, and has been called if it is told."""
    for name, config in (("RUN", tiny_experiment()), ("BOARD", tiny_board_experiment())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"format": 2, **to_data(config)}))
    shutil.copytree(tmp_path / "BOARD", tmp_path / "SOLITARY")
    told = {"called": 0, "before_writing": lambda: None}

    def measure(run, *_, report=print, **given):
        told["called"] += 1
        folder = RunDirectory(run, create=False).evaluations
        report("base greedy 50%")
        told["before_writing"]()
        table, picture = folder / "t.json", folder / "t.png"
        write_json(table, {"rows": [0.5]})
        drawn, axes = figure.subplots(figsize=(1, 1))
        axes.set_axis_off()
        figure.save(drawn, picture)
        return {"rows": [0.5], "table": str(table), "picture": str(picture)}

    def play(runs, _, **given):
        row = {"name": "a", "elo": 0.0, "ci95": (0, 0), "ci95_from_mean": (0, 0), "score": 0.5}
        return {**measure(runs[0]), "players": [{**row, "games": 2}]}

    def search(run, problem, out, **given):
        told["called"] += 1
        page = out or str(RunDirectory(run, create=False).evaluations / "tree.html")
        told["before_writing"]()
        write_text(page, "<html>")
        return {"page": page, "nodes": 3, "rows": [0.5]}

    def drawn(*_):
        told["called"] += 1
        told["before_writing"]()
        return b"\x89PNG"

    monkeypatch.setattr(measuring, "open_run", lambda run, *_: run)
    for study in map(evaluate.study_class, evaluate.STUDIES):
        monkeypatch.setattr(study, "run", lambda _, run, report: measure(run, report=report))
    game = types.SimpleNamespace
    monkeypatch.setattr(opening, "open_game", lambda run, _: game(environment=run))
    monkeypatch.setattr(tournament, "is_for_two", lambda run: "BOARD" in str(run))
    monkeypatch.setattr(perfect_play, "evaluate_board", measure)
    monkeypatch.setattr(returns, "evaluate_returns", measure)
    monkeypatch.setattr(tournament, "arena", play)
    monkeypatch.setattr(inspect, "inspect_run", search)
    monkeypatch.setattr(report, "draw", drawn)
    return told


def argv_of(case, tmp_path, out):
    argv = [str(tmp_path / word) if word.isupper() else word for word in CASES[case]]
    return [*argv, "--out", str(out / "page.html" if case == "inspect" else out), "--json"]


@pytest.mark.parametrize("case", CASES)
def test_the_place_is_tested_before_the_work(work, tmp_path, case):
    (tmp_path / "file").write_text("")
    code, out, err = call(*argv_of(case, tmp_path, tmp_path / "file" / "in"))
    assert (code, out, work["called"]) == (1, "", 0)
    assert "results cannot be written to" in err and err.count("\n") == 1
    run = tmp_path / CASES[case][1]
    assert [file.name for file in run.iterdir()] == ["config.json"]  # nothing is left in it


@pytest.mark.parametrize("case", CASES)
def test_results_go_where_they_are_asked_for(work, tmp_path, case):
    code, out, err = call(*argv_of(case, tmp_path, tmp_path / "new" / "out"))
    assert (code, out.count("\n")) == (0, 1), err
    result = json.loads(out)
    files = [result[key] for key in ("table", "picture", "page") if key in result]
    assert files and all(file.startswith(str(tmp_path / "new" / "out")) for file in files)
    made = sorted(str(file) for file in (tmp_path / "new" / "out").iterdir())
    assert made == sorted(files)
    assert [file.name for file in (tmp_path / CASES[case][1]).iterdir()] == ["config.json"]


@pytest.mark.parametrize("case", CASES)
def test_what_was_found_is_printed_though_it_cannot_be_saved(work, tmp_path, case):
    place = tmp_path / "out"
    place.mkdir()

    def vanish():
        shutil.rmtree(place)
        place.write_text("")

    work["before_writing"] = vanish
    argv = argv_of(case, tmp_path, place)
    code, out, err = call(*argv)
    result = json.loads(out)
    assert code == 1 and result["rows"] == ([] if case == "report" else [0.5])
    assert not any(result.get(key) for key in ("table", "picture", "page"))
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert warnings and all("could not be saved" in line for line in warnings)
    place.unlink()
    place.mkdir()
    code, out, err = call(*argv[:-1])
    assert code == 1 and "table: /" not in out and "could not be saved" in err


def test_by_default_results_are_beside_the_run_and_no_run_is_made(work, tmp_path):
    code, out, _ = call("evaluate", tmp_path / "RUN", "--json")
    assert code == 0
    assert json.loads(out)["table"] == str(tmp_path / "RUN" / "evaluations" / "t.json")
    for argv in CASES.values():
        missing = [str(tmp_path / "none" / "x") if word.isupper() else word for word in argv]
        code, out, err = call(*missing)
        assert (code, out) == (2, "") and "there is no config.json in it" in err
        assert not (tmp_path / "none").exists()


def test_a_run_that_was_opened_before_writes_there_too(tmp_path):
    """Nothing is stood in for: a real run, and a real study."""
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(FOLDER / "runs" / "tiny", run)
    asked = ["--strategies", "greedy", "--budgets", 1, "--seeds", 0, "--problems", 2]
    result = read_json("evaluate", run, *asked, "--out", out)
    assert result["table"] == str(out / "held_out.json")
    assert sorted(file.name for file in out.iterdir()) == ["held_out.json", "held_out.png"]
    assert not (run / "evaluations").exists()

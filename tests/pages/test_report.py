"""`rlsearch report`: runs are grouped by what differs, and seeds are averaged."""

import dataclasses
import json

import numpy as np
import pytest

from rlsearch.config_data import to_data
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.pages.report import report
from rlsearch.runs.directory import RunDirectory
from rlsearch.sharing.model_card import evaluations_of
from tests.commands import fail, read_json, succeed
from tests.tiny import tiny_experiment, with_stage


def make_run(folder, seed=0, simulations=3, accuracies=(), damaged=""):
    config = tiny_experiment()
    config = with_stage(config, "distilled", search={"num_simulations": simulations})
    log = dataclasses.replace(config.log, every_steps=seed + 1)
    config = dataclasses.replace(config, name=str(folder), seed=seed, log=log)
    (folder / "evaluations").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"format": 2, **to_data(config)}))
    lines = [{"step": step, "seconds": 1.0, "policy_loss": step * (seed + 1)} for step in (1, 2, 3)]
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "metrics.jsonl").write_text(text + '\n{"step": 4, "sec')
    rows = [
        {
            **{
                "policy": "base",
                "checkpoint_step": 3,
                "strategy": "best_of_n",
                "verifier": "value head",
            },
            **{"oracle": False, "budget": 4, "seed": number, "accuracy": accuracy},
            **{"problems": 20, "policy_tokens": 84.0, "verifier_tokens": 0.0, "flops": 1e6},
        }
        for number, accuracy in enumerate(accuracies)
    ]
    found = json.dumps({"benchmark": "held_out", "rows": rows})
    (folder / "evaluations" / "held_out.json").write_text(damaged or found)
    return str(folder)


@pytest.fixture
def sweep(tmp_path):
    make_run(tmp_path / "s" / "a", seed=0, accuracies=(0.2, 0.4))
    make_run(tmp_path / "s" / "b", seed=1, accuracies=(0.5, 0.5))
    make_run(tmp_path / "s" / "c", seed=0, simulations=4, accuracies=(1.0,))
    make_run(tmp_path / "s" / "<d>", seed=1, simulations=4)
    return tmp_path / "s"


def test_seeds_are_averaged_and_experiments_kept_apart(sweep):
    result = report([str(sweep)])
    assert result["fields"] == [
        "distilled.search.num_simulations"
    ]  # not the name, the seed or the log
    three, four = result["rows"]
    assert (three["group"], four["group"]) == (
        "distilled.search.num_simulations=3",
        "distilled.search.num_simulations=4",
    )
    np.testing.assert_allclose(
        [three["accuracy"], three["lowest"], three["highest"]], [0.4, 0.3, 0.5]
    )
    assert three["ci95"] == list(wilson_interval(three["accuracy"] * 20, 20))
    assert (three["training_seeds"], four["training_seeds"]) == (2, 1)
    assert [run["steps"] for run in result["runs"]] == [3] * 4  # half a line is no line


def test_the_page_holds_all_and_fetches_nothing(sweep):
    result = report([str(sweep)])
    page = (sweep / "report.html").read_text()
    assert result["page"] == str(sweep / "report.html")
    assert (
        "distilled.search.num_simulations=4" in page and "40.0%" in page and "30.0 to 50.0%" in page
    )
    assert "<d>" not in page and "&lt;d&gt;" in page
    assert "http" not in page and "<script" not in page and "data:image/png;base64," in page
    assert (sweep / "report.png").read_bytes().startswith(b"\x89PNG")


def test_runs_alone_are_compared_and_written_where_told(tmp_path):
    first = make_run(tmp_path / "a", accuracies=(0.5,))
    second = make_run(tmp_path / "b", seed=1, accuracies=(0.5,))
    out = tmp_path / "out"
    result = read_json("report", first, second, "--out", out)
    assert result["fields"] == [] and result["rows"][0]["group"] == "all runs"
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.png"]
    assert "50.0%  of 2 trainings" in succeed("report", first, second, "--out", out)


def test_a_run_without_results_has_a_page_too(tmp_path):
    folder = make_run(tmp_path / "a")
    (tmp_path / "a" / "metrics.jsonl").unlink()
    assert report([folder])["rows"] == []
    assert "None has been evaluated" in (tmp_path / "a" / "report.html").read_text()


@pytest.mark.parametrize(
    "table",
    [
        {"benchmark": "arena", "players": [], "pairings": []},
        {"benchmark": "returns", "rows": [{"policy": "self_play", "mean_return": 3.0}]},
    ],
)
def test_what_is_measured_otherwise_is_left_out(tmp_path, table):
    folder = make_run(tmp_path / "a", accuracies=(0.5,))
    (tmp_path / "a" / "evaluations" / "other.json").write_text(json.dumps(table))
    assert [row["accuracy"] for row in report([folder])["rows"]] == [0.5]
    directory = RunDirectory(folder, create=False)
    assert evaluations_of(directory, "base", 3)[0]["accuracy"] == 0.5


@pytest.mark.parametrize("damaged", ["{", "[]", '{"rows": []}', '{"benchmark": "x", "rows": 3}'])
def test_a_damaged_evaluation_is_named(tmp_path, damaged):
    folder = make_run(tmp_path / "a", damaged=damaged)
    assert "held_out.json is damaged: it" in fail("report", folder)


def test_where_there_is_no_run_it_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        assert "there is no config.json in it" in fail("report", tmp_path / name)

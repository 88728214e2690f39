"""What a search finds beside as many tokens of plain samples."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config_data import to_data
from rlsearch.measuring.opened import open_run
from rlsearch.runs.opening import FORMAT
from rlsearch.strategies.greedy import Greedy
from rlsearch.studies.accuracy import Accuracy
from rlsearch.studies.teachers import Found, Teachers, described, distinct, in_words
from tests.commands import read_json
from tests.golden_runs import FOLDER


def test_different_ones_are_counted_once():
    tokens = jnp.array([[[1, 2], [1, 2], [3, 4], [5, 6]], [[1, 1], [1, 1], [1, 1], [1, 1]]])
    chosen = jnp.array([[True, True, True, False], [False, False, False, False]])
    assert distinct(tokens, chosen).tolist() == [2, 0]
    assert distinct(tokens, jnp.ones((2, 4), bool)).tolist() == [3, 1]


def test_a_teacher_that_finds_more_is_ahead_and_its_interval_says_so():
    ones = np.ones(400, int)
    half = np.tile([0, 1], 200)
    ahead = described(Found(2 * ones, half, 3 * ones, 3 * ones, 50 * ones))
    assert ahead["solved"]["share"] == 1.0 and ahead["solved_by_samples"]["share"] == 0.5
    assert ahead["solved_over_samples"]["ratio"] == 2.0 and ahead["right_solutions"] == 2.0
    low, high = ahead["solved_over_samples"]["ci95"]
    assert 1.7 < low < 2.0 < high < 2.4
    level = described(Found(half, half, ones, ones, ones))["solved_over_samples"]
    assert level == {"ratio": 1.0, "ci95": [1.0, 1.0]}
    pupil = {"sample_accuracy": {"share": 0.125}, "auc_by_step": [0.5, 0.75, None]}
    said = in_words({"policy": "base", **ahead, **pupil})
    assert "(2.00, 1." in said and said.endswith("one sample 12.5%  AUC of steps 0.50 0.75 none")


def test_a_run_of_today_is_measured(tmp_path, monkeypatch):
    run = FOLDER / "runs" / "tiny"
    result = read_json("evaluate", run, "--suite", "teachers", "--problems", 4, "--out", tmp_path)
    assert [row["policy"] for row in result["rows"]] == ["base", "distilled", "control"]
    for row in result["rows"]:
        assert row["problems"] == 4 and row["tokens"] > 0 and row["stage"] == "distilled"
        assert row["samples"] * 6 <= row["tokens"] + 24
        low, high = row["sample_accuracy"]["ci95"]
        assert 0 <= low <= row["sample_accuracy"]["share"] <= high <= 1
        assert len(row["auc_by_step"]) == 3
    assert result["table"].endswith("teachers.json")
    with pytest.raises(ValueError, match="none of its stages searches"):
        Teachers().run(open_run(str(FOLDER / "runs" / "tiny_arithmetic")))


def test_evaluate_runs_all_studies_of_the_config_unless_something_is_asked_for(tmp_path):
    run = tmp_path / "tiny"
    shutil.copytree(FOLDER / "runs" / "tiny", run)
    config = dataclasses.replace(
        open_run(str(run)).config,
        evaluation=(
            Accuracy(strategies=(Greedy(),), budgets=(1,), seeds=(0,)),
            Teachers(policies=("base",), problems=4),
        ),
    )
    (run / "config.json").write_text(json.dumps({"format": FORMAT, **to_data(config)}))
    both = read_json("evaluate", run, "--out", tmp_path / "both")
    assert both["benchmark"] == "held_out" and both["teachers"]["rows"][0]["policy"] == "base"
    assert (tmp_path / "both" / "training" / "teachers.json").exists()
    one = read_json("evaluate", run, "--budgets", 1, "--out", tmp_path / "one")
    assert "teachers" not in one

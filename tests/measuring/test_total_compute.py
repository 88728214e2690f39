"""Training and answering on one axis of FLOPs."""

import pytest

from rlsearch.measuring.opened import open_run
from rlsearch.measuring.total_compute import on_one_axis
from rlsearch.runs.lineage import Lineage
from rlsearch.studies.total_compute_picture import draw
from rlsearch.training.loop import build_stages
from tests.tiny import tiny_experiment
from tests.verifier_run import write_config


def test_tokens_of_pre_training_are_those_of_its_rows(tmp_path):
    run = write_config(tmp_path / "run", tiny_experiment())
    # Three steps of eight traces of 7 and 3 times 8 tokens.
    assert open_run(str(run)).pretraining_tokens() == 3 * 8 * (7 + 24)


def test_a_policy_has_cost_what_the_stages_behind_it_have(tmp_path):
    config = tiny_experiment()
    stages = build_stages(Lineage(config))
    own = {stage.name: stage.num_steps * stage.flops_per_step.total for stage in stages}
    opened = open_run(str(write_config(tmp_path / "run", config)))
    assert opened.training_flops() == {
        "base": own["base"],
        "distilled": own["base"] + own["distilled"],
        "control": own["base"] + own["control"],
    }


def row(policy, budget, flops, accuracy):
    row = {"policy": policy, "strategy": "best_of_n", "verifier": "value head", "budget": budget}
    return {**row, "flops": flops, "accuracy": accuracy, "ci95": [0.0, 1.0]}


def test_training_is_paid_once_and_an_answer_every_time(tmp_path):
    summary = [row("base", 1, 10.0, 0.1), row("base", 4, 40.0, 0.3), row("base", 16, 160.0, 0.2)]
    summary += [row("distilled", 1, 10.0, 0.3)]
    rows = on_one_axis(summary, {"base": 1000.0, "distilled": 1500.0}, 100.0, 1000.0)
    few, many = ([r for r in rows if r["ratio"] == ratio] for ratio in (0.16, 22.0))
    assert [r["total_flops"] for r in few] == pytest.approx(
        [1100 + 1600, 1600 + 1600, 1100 + 6400, 1100 + 25600]
    )
    # Distillation is cheaper for the same accuracy, and the more so the more is answered.
    assert [(r["policy"], r["budget"]) for r in few][:2] == [("base", 1), ("distilled", 1)]
    assert many[1]["policy"] == "distilled" and many[0]["answers"] == 22000.0
    # More FLOPs for less is not on the frontier; policies do not compete for it.
    assert [r["frontier"] for r in few] == [True, True, True, False]
    draw(rows, tmp_path / "total.png", "a title")
    assert (tmp_path / "total.png").read_bytes().startswith(b"\x89PNG")

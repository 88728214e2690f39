"""A stage that writes rows: labels made between a policy and the verifier that learns from them."""

import dataclasses
import json
import os
import shutil
import sys

import jax
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.measuring.opened import open_run
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.labelling import Labelling
from rlsearch.stages.verifier import LabelsFrom
from rlsearch.training import loop
from rlsearch.training.metrics import read_metrics
from rlsearch.training.stopping import StopRequest, TrainingStopped
from rlsearch.verifiers.label_files import LabelFolder
from tests.commands import fail, read_json
from tests.launch import two_processes
from tests.tiny import write_config_file
from tests.verifier_run import killed_at_part, verifier_experiment


def experiment(labels: str = "labels", **changes):
    """A policy, three parts of labels for it, and a verifier that learns from them."""
    fields = {"generations": 40, "num_problems": 4, "num_rollouts": 2, **changes}
    config = verifier_experiment(("prm",), labels=LabelsFrom(labels), aggregation="last")
    base, prm = config.stages
    return dataclasses.replace(config, stages=(base, Labelling("labels", **fields), prm))


CONFIG = experiment()
MOST = 10  # parts: a problem takes a generation or more


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "labelled"
    summary = loop.train(CONFIG, str(path))
    assert summary["stages"] == {"base": 2, "labels": 2 + MOST, "prm": 4 + MOST}
    assert summary["flops"]["labels"] > 0
    return path


def rows_of(path):
    return LabelFolder(path / "rows" / "labels", CONFIG.task, CONFIG.task).all()


def assert_same_rows(one, other):
    for a, b in zip(rows_of(one), rows_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def curve(path):
    rows = read_metrics(path / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_stage_writes_labels_and_the_next_learns_from_them(run):
    about = json.loads((run / "rows" / "labels" / "labels.json").read_text())
    assert 0 < about["spent"] <= 40 and 1 < about["parts"] < MOST
    assert (about["kind"], about["policy"], about["checkpoint_step"]) == ("soft", "base", 2)
    assert len(rows_of(run).prompts) == about["solutions"]
    written = [row for row in curve(run) if row["stage"] == "labels"]
    assert [row["stage_step"] for row in written] == list(range(1, about["parts"] + 1))
    assert written[-1]["generations"] == about["spent"] and 0 <= written[-1]["label_mean"] <= 1
    assert [row["stage"] for row in curve(run)][-2:] == ["prm", "prm"]
    opened = open_run(str(run))
    made = opened.training_of("prm")
    assert (made["labels"], made["generations"]) == ("soft", about["spent"])
    judged = ["--strategies", "best_of_n", "--budgets", 2, "--seeds", 0, "--verifier", "prm"]
    assert read_json("evaluate", run, *judged)["rows"][0]["verifier"] == "prm"


def test_a_run_that_was_killed_among_its_parts_ends_with_the_same_rows(run, tmp_path):
    with killed_at_part(2) as written:
        loop.train(CONFIG, str(tmp_path / "run"))
    first = written[0].read_bytes(), os.stat(written[0]).st_mtime_ns
    loop.train(CONFIG, str(tmp_path / "run"))
    # What was there was not made again.
    assert (written[0].read_bytes(), os.stat(written[0]).st_mtime_ns) == first
    assert_same_rows(run, tmp_path / "run")
    assert curve(run) == curve(tmp_path / "run")


def test_what_it_measured_is_there_after_a_restart_behind_its_last_part(run, tmp_path):
    """It has no checkpoints: what is on file is counted again, and made no second time."""
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "prm")
    part = tmp_path / "run" / "rows" / "labels" / "000000.npz"
    before = os.stat(part).st_mtime_ns
    loop.train(CONFIG, str(tmp_path / "run"))
    assert curve(run) == curve(tmp_path / "run") and os.stat(part).st_mtime_ns == before


@pytest.mark.parametrize("field", ["parts", "spent", "solutions", "labels"])
def test_a_damaged_description_is_named(run, tmp_path, field):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "prm")
    path = tmp_path / "run" / "rows" / "labels" / "labels.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {field: "x"}))
    with pytest.raises(ValueError, match=f"labels.json is damaged: {field} is 'x'"):
        loop.train(CONFIG, str(tmp_path / "run"))


def test_a_verifier_whose_rows_were_removed_says_so(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "rows")
    with pytest.raises(FileNotFoundError, match="rows/labels'?: there is no labels.json in it"):
        loop.train(CONFIG, str(tmp_path / "run"))
    assert not (tmp_path / "run" / "rows").exists()


def test_a_signal_stops_it_behind_a_part(run, tmp_path, monkeypatch):
    reached = StopRequest.reached
    with monkeypatch.context() as patch:

        def stop_in_the_labels(self, step):
            if step == 4:
                self._on(15, None)
            return reached(self, step)

        patch.setattr(StopRequest, "reached", stop_in_the_labels)
        with pytest.raises(TrainingStopped, match=f"step 4 of {4 + MOST} is saved"):
            loop.train(CONFIG, str(tmp_path / "run"))
    assert len(list((tmp_path / "run" / "rows" / "labels").glob("*.npz"))) == 2
    loop.train(CONFIG, str(tmp_path / "run"))
    assert_same_rows(run, tmp_path / "run")


def test_another_run_learns_from_the_rows_of_a_stage(run, tmp_path):
    config = verifier_experiment(
        ("prm",), policy=f"{run}/base", labels=LabelsFrom(f"{run}/labels"), aggregation="last"
    )
    config = dataclasses.replace(config, stages=config.stages[1:])
    (run / "labels").mkdir(exist_ok=True)  # as `rlsearch data label` makes it: it is no stage
    loop.train(config, str(tmp_path / "other"))
    one, other = (
        [row["verifier_loss"] for row in curve(path) if row["stage"] == "prm"]
        for path in (run, tmp_path / "other")
    )
    np.testing.assert_allclose(one[0], other[0], rtol=0.2)  # the same rows, in another order
    assert open_run(str(tmp_path / "other")).training_of("prm")["labels"] == "soft"


def test_labels_of_a_mesh_are_those_of_one_device(run, tmp_path):
    meshed = dataclasses.replace(CONFIG, parallel=ParallelConfig(data=2))
    loop.train(meshed, str(tmp_path / "run"))
    assert_same_rows(run, tmp_path / "run")


def test_what_labels_cannot_be_is_refused_before_there_is_a_run(tmp_path):
    def refused(config, sentence):
        with pytest.raises(ValueError, match=sentence):
            loop.train(config, str(tmp_path / "run"))
        assert not (tmp_path / "run" / "config.json").exists()

    base, labels, prm = CONFIG.stages
    turned = dataclasses.replace(CONFIG, stages=(base, prm, labels))
    refused(turned, "prm.labels.folder is 'labels': it must be a stage before it")
    refused(experiment("base"), "rows are 'base': that stage writes none")
    refused(experiment(verifier="base", drawn=2), "'base': that stage trains no verifier")
    refused(experiment(verifier="tests.toy:Typo", drawn=2), "there is no such class")
    started = dataclasses.replace(prm, network="copy", policy="labels")
    rows = dataclasses.replace(CONFIG, stages=(base, labels, started))
    refused(rows, "stage is 'labels': it ends with rows, not with parameters")
    judged = dataclasses.replace(labels, name="again", policy="prm")
    refused(dataclasses.replace(CONFIG, stages=(base, labels, prm, judged)), "trains no policy")
    refused(experiment(verifier="orm", drawn=2), "labels.verifier is 'orm': it must be a stage")
    odd = dataclasses.replace(CONFIG, parallel=ParallelConfig(data=8))
    refused(odd, "takes 4 problems at once: they must be a multiple of .*, 8")
    for fields, sentence in (
        ({"kind": "rough"}, "Labelling.kind is 'rough'"),
        ({"drawn": 2}, "Labelling.drawn is 2: it must be 1 where no verifier"),
        ({"generations": 0}, "Labelling.generations is 0: it must be at least 1 where"),
        ({"kind": "bisection", "drawn": 2, "verifier": "x"}, "1 for bisection"),
    ):
        with pytest.raises(ValueError, match=sentence):
            experiment(**fields)
    one = experiment(generations=1)
    with pytest.raises(ValueError, match="generations is 1: one label takes more"):
        loop.train(one, str(tmp_path / "one"))


def test_rows_of_other_settings_are_never_gone_on_with(run, tmp_path):
    shutil.copytree(run / "rows", tmp_path / "run" / "rows")
    other = experiment(num_rollouts=3)
    with pytest.raises(ValueError, match="there the num_rollouts is 2, and now 3"):
        loop.train(other, str(tmp_path / "run"))
    with pytest.raises(ValueError, match="labels.num_rollouts .2 there, 3 now."):
        loop.train(other, str(run))


def test_parts_can_be_counted_instead_of_generations():
    counted = experiment(generations=0, num_steps=3).stages[1]
    assert counted.length(Lineage(CONFIG)) == 3
    assert Lineage(experiment(num_steps=4)).ends()["labels"] == 6


def test_a_search_judged_by_a_stage_before_chooses_what_is_labelled(tmp_path):
    """The verifier is another stage of the run, and its choice counts: two draws a solution."""
    base, labels, prm = experiment(kind="exact", drawn=2, verifier="orm", generations=8).stages
    orm = verifier_experiment(("orm",)).stages[1]
    config = dataclasses.replace(CONFIG, stages=(base, orm, labels, prm))
    loop.train(config, str(tmp_path / "run"))
    about = json.loads((tmp_path / "run" / "rows" / "labels" / "labels.json").read_text())
    assert (about["solutions"], about["spent"], about["verifier"]) == (4, 8, "orm")


def test_a_plan_leaves_rows_out(tmp_path):
    config = write_config_file(tmp_path / "labelled.py", CONFIG)
    on = ["--topology", "v5e-8", "--parallel.data", 8]
    planned = read_json("plan", config, *on)
    assert [stage["stage"] for stage in planned["stages"]] == ["base", "prm"]
    assert "there is no stage 'labels'" in fail("plan", config, "--stages", "labels", *on)


@pytest.mark.slow
def test_two_processes_write_what_one_does(run, tmp_path):
    config = dataclasses.replace(CONFIG, parallel=ParallelConfig(data=2))
    path = two_processes.write_config_file(tmp_path / "labelled.py", config)
    command = [sys.executable, "-m", "rlsearch", "train", path, "--run-dir", str(tmp_path / "run")]
    processes = two_processes.start_pair(command, [tmp_path, tmp_path])
    try:
        errors = [process.communicate(timeout=600)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    assert_same_rows(run, tmp_path / "run")
    assert len(jax.tree.leaves(rows_of(run))) == 5

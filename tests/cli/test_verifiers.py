"""Training verifiers, naming them, labelling, and all that is refused: on one tiny run."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.measuring.costs import answer_flops
from rlsearch.measuring.opened import OpenedRun, open_run
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.checkpoints import stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.verifier import LabelsFrom
from rlsearch.studies.everything import Everything
from rlsearch.studies.test_time_compute import TestTimeCompute
from rlsearch.studies.verifiers import Verifiers
from rlsearch.training import loop
from rlsearch.training.state import abstract_state
from rlsearch.verifiers.label_files import LabelFolder, read_part
from tests.commands import fail, read_json
from tests.interruption import InterruptionError, limit_steps
from tests.tiny import tiny_experiment
from tests.verifier_run import (
    STAGE_ENDS,
    killed_at_part,
    labelled,
    verifier_experiment,
    write_config,
)

CONFIG, SLOW = verifier_experiment(), pytest.mark.slow
TASK = CONFIG.task


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "arithmetic"
    summary = loop.train(CONFIG, str(path))
    assert summary["stages"] == STAGE_ENDS
    return path


def last_state(run):
    lineage, directory = Lineage(CONFIG), RunDirectory(run)
    for name in STAGE_ENDS:
        with stage_checkpoints(directory, lineage, name) as checkpoints:
            assert checkpoints.store.permanent_steps() == [2]
    *_, stage = loop.build_stages(lineage)
    with stage_checkpoints(directory, lineage, "prm") as checkpoints:
        abstract = loop.abstract_state(stage, make_mesh(CONFIG.parallel))._asdict()
        return jax.tree.leaves(checkpoints.store.restore(2, abstract))


def test_a_verifiers_training_is_resumed_bit_for_bit(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    for name in ("orm", "prm"):  # as the run was when the policy was trained
        shutil.rmtree(tmp_path / "run" / "checkpoints" / name)
    with monkeypatch.context() as patch:
        limit_steps(patch, 3)  # in the middle of the second verifier
        with pytest.raises(InterruptionError):
            loop.train(CONFIG, str(tmp_path / "run"))
    loop.train(CONFIG, str(tmp_path / "run"))
    for one, other in zip(last_state(run), last_state(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(one, other)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["base"] * 2 + ["orm"] * 2 + ["prm"] * 2


def test_a_verifier_of_the_run_judges_and_is_paid_for(run):
    asked = ["--budgets", 2, "--seeds", 0, "--strategies", "best_of_n"]
    judge = ["beam_search", "--verifier", "prm", "--aggregation", "min"]
    rows = read_json("evaluate", run, *asked, *judge)["rows"]
    assert {row["verifier"] for row in rows} == {"prm"} and len(rows) == 2
    for row in rows:  # the prompt once a problem, and all that was written
        assert row["verifier_tokens"] == 10 + row["policy_tokens"]
    free = read_json("evaluate", run, *asked)["rows"]
    assert all(row["verifier_tokens"] == 0 for row in free)
    assert free[0]["policy_tokens"] == rows[0]["policy_tokens"]
    assert free[0]["flops"] < rows[0]["flops"]


def test_the_suite_of_verifiers(run):
    few = ["--budgets", 1, "--problems", 2]
    result = read_json("evaluate", run, "--suite", "verifiers", "--budgets", 1, 4)
    assert (run / "evaluations" / "verifiers.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((run / "evaluations" / "verifiers.json").read_text())
    assert saved == {key: result[key] for key in saved}
    made = [(row["verifier"], row["strategy"], row["budget"]) for row in saved["rows"]]
    assert len(set(made)) == len(made) == 2 * 2 * 4
    assert [row["verifier"] for row in saved["verifiers"]] == ["value_head", "orm", "prm"]
    prm = saved["verifiers"][2]
    assert (prm["labels"], prm["generations"], prm["network"]) == ("exact", 8, "own")
    assert prm["steps"]["count"] >= 3 * 4 and 0 <= prm["steps"]["calibration_error"] <= 1
    row = next(r for r in saved["rows"] if r["verifier"] == "prm" and r["budget"] == 4)
    assert row["verifier_tokens"] == 10 + row["policy_tokens"]
    said = fail("evaluate", run, "--suite", "verifiers", "--policies", "base", "control")
    assert "--policies takes one" in said
    assert "--verifier takes one value" in fail("evaluate", run, "--verifier", "prm", "orm")
    # No verifier is one too: its first sample, and the majority by another name.
    none = read_json("evaluate", run, "--suite", "verifiers", "--verifier", "constant", *few)
    assert {row["verifier"] for row in none["rows"]} == {"none"} and len(none["rows"]) == 4


def test_one_command_shows_what_strategies_and_verifiers_are_worth(run):
    asked = ["--suite", "test-time-compute", "--strategies", "best_of_n", "--verifier", "prm"]
    result = read_json("evaluate", run, *asked, "--budgets", 2, "--seeds", 0, "--policies", "base")
    assert {row["verifier"] for row in result["rows"]} == {"prm"}
    judged = [row["verifier"] for row in result["verifiers"]["verifiers"]]
    assert judged == ["value_head", "orm", "prm"]
    assert result["verifiers"]["table"] == str(run / "evaluations" / "verifiers.json")
    assert "revisions" not in result and "exchange" not in result


def test_verifiers_in_training_are_left_out_of_the_one_command(run, tmp_path, monkeypatch):
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    shutil.copy(run / "config.json", tmp_path)
    called = []
    monkeypatch.setattr(TestTimeCompute, "run", lambda *arguments: {"rows": []})
    monkeypatch.setattr(Verifiers, "run", lambda *arguments: called.append(arguments) or {})
    asked = Everything(budgets=(4,), seeds=(7, 3), problems=5)
    assert set(asked.run(open_run(str(tmp_path)))) == {"rows", "verifiers"}
    assert [study for study, *_ in called] == [Verifiers(budgets=(4,), seed=7, problems=5)]
    shutil.rmtree(tmp_path / "checkpoints" / "prm")
    assert set(asked.run(open_run(str(tmp_path)))) == {"rows"} and len(called) == 1


@pytest.mark.parametrize(
    "kind", ["soft", *(pytest.param(k, marks=SLOW) for k in ("exact", "bisection"))]
)
def test_labels_are_made_again_bit_for_bit_after_a_kill(run, kind):
    asked = {"kind": kind, "generations": 60, "num_rollouts": 2, "num_searches": 1}
    whole = labelled(run, f"{kind}_whole", **asked)
    assert 0 < whole["spent"] <= 60 and whole["parts"] > 1

    with killed_at_part(1) as written:
        labelled(run, f"{kind}_killed", **asked)
    folder = run / "labels" / f"{kind}_killed"
    with pytest.raises(ValueError, match="they are not all made yet"):
        LabelFolder(folder, TASK, TASK)
    first = written[0]
    modified = first.stat().st_mtime_ns
    assert labelled(run, f"{kind}_killed", **asked)["spent"] == whole["spent"]
    assert first.stat().st_mtime_ns == modified  # what was there was not made again
    one, other = (read_all(f) for f in (whole["folder"], folder))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(one.generations.sum()) == whole["spent"]


def read_all(folder):
    return LabelFolder(folder, TASK, TASK).all()


@SLOW
def test_hard_labels_are_the_soft_ones_above_zero(run):
    small = ["--generations", 40, "--rollouts", 2, "--problems", 4]
    for kind in ("hard", "soft"):
        made = read_json("data", "label", run, "--labels", kind, *small)
        assert made["labels"] > 0 and made["spent"] <= 40
    hard, soft = (read_all(run / "labels" / k) for k in ("hard", "soft"))
    np.testing.assert_array_equal(hard.values, soft.values > 0)
    np.testing.assert_array_equal(hard.solutions, soft.solutions)
    said = fail("data", "label", run, "--labels", "soft", *small, "--rollouts", 3)
    assert "there the num_rollouts is 2, and now 3; give them another name" in said


def alone(run, **changes):
    """A run that trains a verifier of another run's policy, and nothing else."""
    config = verifier_experiment(("prm",), policy=f"{run}/base", **changes)
    return dataclasses.replace(config, stages=config.stages[1:])


@SLOW
def test_a_verifier_of_another_run_learns_from_labels_and_judges_this_one(run, tmp_path):
    made = read_json("data", "label", run, "--labels", "exact", "--generations", 11, "--name", "e")
    config = alone(run, network="copy", labels=LabelsFrom(made["folder"]))
    other = tmp_path / "other"
    assert loop.train(config, str(other))["stages"] == {"prm": 2}
    name = f"{other}/prm"
    opened = open_run(str(run))
    paid = opened.verifier_training_flops(name)
    shutil.rmtree(run / "labels" / "e")  # a trained verifier is whole by itself
    each = answer_flops(opened.policy, opened.task, opened.policy.format.max_length)
    unpaid = opened.verifier_training_flops(name)
    assert unpaid > 0 and paid - unpaid == pytest.approx(made["spent"] * each)
    asked = ["--strategies", "best_of_n", "--budgets", 2, "--seeds", 0, "--verifier", name]
    rows = read_json("evaluate", run, *asked)["rows"]
    assert rows[0]["verifier"] == name and rows[0]["verifier_tokens"] > 0
    assert f"evaluate {run} with --verifier {other}/prm" in fail("evaluate", other)


@SLOW
def test_convincing_wrong_solutions_are_labelled(run):
    drawn = ["--labels", "exact", "--generations", 24, "--problems", 4, "--drawn", 3]
    made = read_json("data", "label", run, *drawn, "--verifier", "prm", "--name", "active")
    assert made["spent"] == 24 and made["solutions"] == 8 and made["drawn"] == 3
    assert "1 where no verifier says" in fail("data", "label", run, *drawn, "--name", "x")


def test_a_product_of_what_soft_labels_taught_is_warned_of(run, monkeypatch, capsys):
    opened = open_run(str(run))
    opened.judge("prm")  # which has learnt from exact labels
    monkeypatch.setattr(OpenedRun, "training_of", lambda self, name: {"labels": "soft"})
    opened.judge("prm", "min")
    assert "punishes length" not in capsys.readouterr().err
    opened.judge("prm")
    assert "verifier 'prm' multiplies the scores" in capsys.readouterr().err


def refused(run, *argv) -> str:
    return fail("evaluate", run, "--strategies", "best_of_n", "--budgets", 1, *argv)


def test_verifiers_that_cannot_judge_are_refused_by_name(run, tmp_path):
    assert "it must be value_head, constant, checker, orm, prm, RUN/NAME" in refused(
        run, "--verifier", "pmr"
    )
    tiny = tiny_experiment()
    game = dataclasses.replace(tiny, stages=(tiny.stages[0], *CONFIG.stages[1:]))
    name = f"{write_config(tmp_path / 'game', game)}/orm"
    said = refused(run, "--verifier", name)
    assert f"verifier is {name!r}: it judges rlsearch.tasks.game24:Game24" in said
    longer = dataclasses.replace(TASK, num_operations=3)
    other = dataclasses.replace(CONFIG, task=longer)
    said = refused(run, "--verifier", f"{write_config(tmp_path / 'longer', other)}/prm")
    assert "its prompt_length is 14, and that of this run is 10" in said
    head = verifier_experiment(network="head")
    said = refused(run, "--verifier", f"{write_config(tmp_path / 'head', head)}/prm")
    assert "it is a head on the trunk of a policy of" in said
    said = refused(run, "--verifier", f"{write_config(tmp_path / 'unfinished', CONFIG)}/prm")
    assert "its training is not over" in said
    assert "that run has trained orm, prm" in refused(run, "--verifier", f"{tmp_path}/longer/best")
    assert "there is no config.json in it" in refused(run, "--verifier", "nowhere/prm")


def test_policies_and_labels_of_another_task_are_refused(run, tmp_path):
    other = dataclasses.replace(alone(run), task=dataclasses.replace(TASK, split_seed=1))
    with pytest.raises(ValueError, match="it must be a run of the same task"):
        loop.train(other, str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError, match="there is no config.json in it"):
        loop.train(alone("nowhere"), str(tmp_path / "a"))
    with pytest.raises(ValueError, match="orm.policy is 'control': it must be a stage .*, base"):
        loop.train(verifier_experiment(policy="control"), str(tmp_path / "a"))
    made = labelled(run, "of_two", generations=4)
    with pytest.raises(ValueError, match="which has another task.split_seed"):
        LabelFolder(made["folder"], other.task, TASK)
    with pytest.raises(FileNotFoundError, match="there is no labels.json in it"):
        loop.train(alone(run, labels=LabelsFrom(str(tmp_path / "none"))), str(tmp_path / "a"))
    assert not (tmp_path / "a" / "config.json").exists()


def test_labels_are_taken_from_the_parts_they_are_in_and_fill_all_lanes(run):
    made = labelled(run, "taken", generations=11)
    assert (made["solutions"], made["solutions_of_a_part"], made["parts"]) == (11, 4, 3)
    folder, whole = LabelFolder(made["folder"], TASK, TASK), read_all(made["folder"])
    from_folder = LabelsFrom(made["folder"])
    config = verifier_experiment(("prm",), labels=from_folder, num_solutions=8)
    *_, stage = loop.build_stages(Lineage(config))
    shapes = abstract_state(stage, make_mesh(ParallelConfig())).memory
    assert stage.fill is not None and shapes.rows.prompts.shape[:2] == (8, 2)
    blank = jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype), x.sharding), shapes)
    rows = stage.fill(blank).rows
    order = np.arange(16) % 11  # the first ones twice, so that all eight lanes have two
    np.testing.assert_array_equal(
        np.asarray(rows.solutions).reshape(16, -1), whole.solutions[order]
    )
    # Behind the last token of a step is its label, so that all of a solution's are there.
    sums = np.asarray((rows.values * rows.weights).sum(axis=-1)).ravel()
    np.testing.assert_allclose(sums, (whole.values * whole.weights).sum(axis=-1)[order])

    (run / "labels" / "taken" / "000001.npz").unlink()
    for one, other in zip(folder.take(np.array([9, 2, 8])), whole, strict=True):
        np.testing.assert_array_equal(one, other[[9, 2, 8]])
    with pytest.raises(FileNotFoundError, match="000001.npz"):
        folder.take(np.array([0, 5]))
    path = run / "labels" / "taken" / "labels.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"solutions": 10}))
    with pytest.raises(ValueError, match="it has 3 solutions, and labels.json says 2"):
        LabelFolder(made["folder"], TASK, TASK).take(np.array([9]))
    path.write_text(json.dumps(about | {"solutions_of_a_part": "4"}))
    with pytest.raises(ValueError, match="solutions_of_a_part is '4': it must be a whole number"):
        read_all(made["folder"])


def test_a_damaged_part_is_no_labels(run, tmp_path):
    made = labelled(run, "damaged")
    part = next(iter((run / "labels" / "damaged").glob("000000.npz")))
    good = dict(np.load(part))
    np.savez(part, **(good | {"values": good["values"] + 2}))
    with pytest.raises(ValueError, match="a token, value or weight is out of range"):
        read_part(part, TASK)
    np.savez(part, **(good | {"values": np.array([{}], object)}))
    with pytest.raises(ValueError, match="is damaged: .*allow_pickle=False"):
        read_part(part, TASK)
    np.savez(part, **(good | {"prompts": good["prompts"][:, 1:]}))
    with pytest.raises(ValueError, match="prompts is int32"):
        read_part(part, TASK)
    part.write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged"):
        read_all(made["folder"])

"""Training a policy that revises, and its suite: on one tiny run."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.checkpoints import stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.revision import Revision
from rlsearch.studies.revisions import what_revising_did
from rlsearch.training import loop
from tests.commands import fail, read_json
from tests.interruption import InterruptionError, limit_steps
from tests.tiny import with_stage
from tests.verifier_run import verifier_experiment, write_config

PLAIN = verifier_experiment(())
REVISION = Revision(
    num_steps=2,
    num_problems=2,
    num_samples=4,
    replay_size=16,
    updates_per_step=1,
    batch_size=8,
    optimizer=PLAIN.stages[0].optimizer,
)
CONFIG = dataclasses.replace(PLAIN, name="tiny_revisions", stages=(*PLAIN.stages, REVISION))
STAGE_ENDS = {"base": 2, "revision": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "revisions"
    summary = loop.train(CONFIG, str(path))
    assert summary["stages"] == STAGE_ENDS and summary["flops"]["revision"] > 0
    return path


def last_state(run):
    lineage, directory = Lineage(CONFIG), RunDirectory(run)
    for name in STAGE_ENDS:
        with stage_checkpoints(directory, lineage, name) as checkpoints:
            assert checkpoints.store.permanent_steps() == [2]
    _, stage = loop.build_stages(lineage)
    with stage_checkpoints(directory, lineage, "revision") as checkpoints:
        abstract = loop.abstract_state(stage, make_mesh(CONFIG.parallel))._asdict()
        return jax.tree.leaves(checkpoints.store.restore(2, abstract))


def test_the_training_of_revisions_is_resumed_bit_for_bit(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    # As the run was when the policy was trained.
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "revision")
    with monkeypatch.context() as patch:
        limit_steps(patch, 1)
        with pytest.raises(InterruptionError):
            loop.train(CONFIG, str(tmp_path / "run"))
    loop.train(CONFIG, str(tmp_path / "run"))
    for one, other in zip(last_state(run), last_state(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(one, other)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["base"] * 2 + ["revision"] * 2
    assert {"policy_loss", "value_loss", "sample_accuracy", "attempts"} < set(lines[-1])


def test_the_suite_sweeps_the_ratio_and_says_what_the_strategy_does(run):
    asked = ["--budgets", 2, 4, "--seeds", 0, 3]
    result = read_json("evaluate", run, "--suite", "revisions", *asked)
    assert (run / "evaluations" / "revisions.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((run / "evaluations" / "revisions.json").read_text())
    assert saved == {key: result[key] for key in saved}
    rows = {
        (row["budget"], row["settings"]["sequential"], row["verifier"], row["seed"]): row
        for row in result["rows"]
    }
    assert len(rows) == len(result["rows"]) == (2 + 3) * 2 * 2
    assert {row["policy"] for row in rows.values()} == {"revision"}
    assert {row["checkpoint_step"] for row in rows.values()} == {4}
    # The suite draws chains once, for the largest budget; the strategy draws its own.
    of_revision = ["--strategies", "revisions", "--sequential", 2, "--policies", "revision"]
    for row in read_json("evaluate", run, *asked, *of_revision)["rows"]:
        same = rows[row["budget"], 2, row["verifier"], row["seed"]]
        apart = {key: row[key] for key in ("strategy", "seconds", "flops")}
        assert same | apart == row
        assert same["flops"] == pytest.approx(row["flops"])
    # What is read again of attempts is in the FLOPs; a sample has nothing to read.
    sample, chain = (rows[4, s, "value head", 0] for s in (1, 4))
    assert sample["context_tokens"] == 0 < chain["context_tokens"]
    assert sample["flops"] / sample["policy_tokens"] < chain["flops"] / chain["policy_tokens"]
    assert [row["sequential"] for row in result["revised"]] == [1, 2, 4]
    assert [len(row["by_attempt"]) for row in result["revised"]] == [1, 2, 4]


def test_one_command_shows_what_strategies_and_revisions_are_worth(run):
    asked = ["--suite", "test-time-compute", "--strategies", "best_of_n", "--policies", "base"]
    result = read_json("evaluate", run, *asked, "--budgets", 2, "--seeds", 0)
    assert [row["sequential"] for row in result["revisions"]["revised"]] == [1, 2]
    assert {row["policy"] for row in result["rows"]} == {"base"}


def test_what_was_revised_is_counted():
    right = np.array([[[1, 0, 1, 1], [0, 0, 1, 0]], [[1, 1, 1, 1], [0, 0, 0, 0]]], bool)
    found = what_revising_did(right)
    assert found["by_attempt"] == [0.5, 0.25, 0.75, 0.5]
    assert found["right_to_wrong"] == 2 / 6 and found["wrong_to_right"] == 2 / 6
    alone = what_revising_did(right[:, :, :1])
    assert alone["right_to_wrong"] is alone["wrong_to_right"] is None


def test_what_cannot_be_done_is_said(run, tmp_path):
    suite = ["evaluate", run, "--suite", "revisions"]
    assert "a budget of 4 does not pay" in fail(*suite, "--budgets", 4, "--sequential", 8)
    said = fail(*suite, "--strategies", "revisions")
    assert "--strategies is not for the study of revisions" in said
    assert "--policies takes one value" in fail(*suite, "--policies", "base", "revision")
    assert "--sequential takes one value" in fail("evaluate", run, "--sequential", 1, 2)
    said = fail("evaluate", run, "--suite", "verifiers", "--sequential", 1)
    assert "--sequential is not for the study of verifiers" in said
    other = with_stage(CONFIG, "revision", start="distilled")
    with pytest.raises(ValueError, match="revision.start is 'distilled': it must be .*, base"):
        loop.train(other, str(tmp_path / "a"))
    write_config(tmp_path / "plain", dataclasses.replace(CONFIG, stages=PLAIN.stages))
    shutil.copytree(run / "checkpoints", tmp_path / "plain" / "checkpoints")
    said = fail("evaluate", tmp_path / "plain", "--suite", "revisions")
    assert "none of its policies has learnt to revise; it has base" in said

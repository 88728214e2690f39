"""A stage refers to one before it; whoever opens a run or begins one is told where it does not."""

import dataclasses
import json

import pytest

from rlsearch.config_data import to_data
from rlsearch.runs.lineage import REFERENCES, Lineage
from rlsearch.runs.opening import FORMAT, experiment_of
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.labelling import Labelling
from rlsearch.stages.revision import Revision
from tests.commands import fail
from tests.tiny import tiny_experiment, with_stage, with_stages
from tests.verifier_run import verifier_experiment

TINY, JUDGED = tiny_experiment(), verifier_experiment()
REVISED = dataclasses.replace(TINY, stages=(*TINY.stages, Revision(num_samples=4)))
BASE, ORM, PRM = JUDGED.stages
CONVINCING = Labelling("labels", drawn=2, verifier="prm")
LABELLED = dataclasses.replace(JUDGED, stages=(BASE, ORM, CONVINCING, PRM))
WRONG = [
    (with_stage(TINY, "base", start="base"), "base.start is 'base'", "and it is the first"),
    (with_stage(TINY, "base", start="control"), "base.start is 'control'", "and it is the first"),
    (with_stage(TINY, "distilled", start="bass"), "distilled.start is 'bass'", "base; the nearest"),
    (
        with_stage(TINY, "control", flops_of="control"),
        "control.flops_of is 'control'",
        "base, dist",
    ),
    (with_stages(TINY, "base", "control"), "control.flops_of is 'distilled'", "base"),
    (with_stage(REVISED, "revision", start="revision"), "revision.start is 'revision'", "base, d"),
    (with_stage(JUDGED, "orm", policy="prm"), "orm.policy is 'prm'", "base"),
    (with_stage(JUDGED, "prm", policy="x" * 10_000), "prm.policy is 'xxx", "base, orm"),
    (LABELLED, "labels.verifier is 'prm'", "base, orm"),
]


def test_every_field_that_refers_is_tried():
    assert {said.partition(" ")[0].partition(".")[2] for _, said, _ in WRONG} == set(REFERENCES)
    assert Lineage(REVISED).num_steps("control") == 3


@pytest.mark.parametrize(("config", "said", "valid"), WRONG)
def test_a_stage_refers_to_one_before_it(config, said, valid, tmp_path):
    with pytest.raises(ValueError) as caught:
        Lineage(config)
    found = str(caught.value)
    assert found.startswith(said) and len(found) < 500
    assert f": it must be a stage before it, {valid}" in found
    (tmp_path / "config.json").write_text(json.dumps({"format": 2, **to_data(config)}))
    for command in ("evaluate RUN", "export RUN OUT", "solve RUN 4_7_8_8", "data label RUN"):
        words = {"RUN": tmp_path, "OUT": tmp_path / "out"}
        assert said in fail(*(words.get(word, word) for word in command.split()))


def test_another_runs_stage_is_not_looked_for_here():
    assert Lineage(with_stage(JUDGED, "orm", policy="runs/other/base"))


def test_a_control_of_before_counts_its_teachers_empty_candidates_still():
    data = to_data(TINY)
    for stage in data["stages"]:
        stage.pop("flops_with_empty", None)
    for number, with_empty in ((2, True), (3, False)):
        config = experiment_of({"format": number, **data})
        control = next(stage for stage in config.stages if isinstance(stage, ExpertIteration))
        assert control.flops_with_empty is with_empty


def test_transformers_of_before_scale_embeddings_where_one_matrix_reads_and_writes():
    for tied in (True, False):
        for config in (TINY, JUDGED):
            model = dataclasses.replace(config.model, tie_embeddings=tied)
            data = to_data(dataclasses.replace(config, model=model))
            del data["model"]["scale_embeddings"]
            found = experiment_of({"format": FORMAT, **data}).model
            assert (found.tie_embeddings, found.scale_embeddings) == (tied, tied)

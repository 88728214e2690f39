"""Exporting a run's parameters, and what importing does with folders from elsewhere."""

import dataclasses
import json
import pickle
import shutil

import jax
import numpy as np
import pytest
from huggingface_hub import ModelCard
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.checkpoints.tensors import write_tensors
from rlsearch.config import ParallelConfig
from rlsearch.config_data import to_data
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.checkpoints import stage_checkpoints
from rlsearch.runs.directory import RunDirectory, write_json
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.opening import read_config
from rlsearch.runs.parameters import load_params
from tests.boards import tiny_board_experiment
from tests.commands import call, fail, read_json, succeed
from tests.golden_runs import FOLDER
from tests.tiny import STAGE_ENDS, tiny_experiment, write_config_file

LANGUAGE, BOARD = tiny_experiment(), tiny_board_experiment()
STEPS = dict.fromkeys(STAGE_ENDS, 3)  # the last of each stage
BOARD_STEP = 3  # of 4: any checkpoint of a game's can play


def make_run(path, config, steps: dict[str, int]):
    """A run as training would have left it, but untrained: each stage has other parameters.

    They are split over eight devices, as a training that was sharded saves them.
    """
    mesh = make_mesh(ParallelConfig(data=8))
    lineage = Lineage(config)
    params = jax.device_get(lineage.model(config.stages[0].name).init(jax.random.key(0)))

    def split(x):
        spec = P("data") if x.ndim and x.shape[0] % 8 == 0 else P()
        return jax.device_put(x, NamedSharding(mesh, spec))

    directory = RunDirectory(path)
    directory.write_config({"format": 3, **to_data(config)})
    for number, (stage, step) in enumerate(steps.items()):
        moved = jax.tree.map(lambda x, n=number: split(x * 1.1 + n / 3), params)
        with stage_checkpoints(directory, lineage, stage) as checkpoints:
            checkpoints.save(step, {"params": moved, "optimizer": {"count": np.arange(3)}})
    return path


def row(policy: str, step: int, seed: int, accuracy: float, **fields) -> dict:
    known = {"strategy": "best_of_n", "verifier": "value_head", "oracle": False, "budget": 4}
    costs = dict.fromkeys(("policy_tokens", "verifier_tokens", "flops"), 1.0)
    found = {"policy": policy, "checkpoint_step": step, "seed": seed, "accuracy": accuracy}
    return {**known, **costs, **found, "problems": 50, **fields}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "tiny"
    make_run(path, LANGUAGE, STEPS)
    distilled = STAGE_ENDS["distilled"]
    rows = [row("distilled", distilled, 0, 0.5), row("distilled", distilled, 1, 0.7)]
    rows += [row("distilled", distilled, 0, 1.0, oracle=True), row("base", 3, 0, 0.1)]
    rows += [row("distilled", distilled - 1, 0, 0.9)]
    write_json(path / "evaluations" / "held_out.json", {"benchmark": "held_out", "rows": rows})
    write_json(path / "evaluations" / "arena.json", {"benchmark": "arena", "players": []})
    return path


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    made = tmp_path_factory.mktemp("shared") / "folder"
    assert read_json("export", run, made) == {
        "folder": str(made),
        "stage": "distilled",
        "step": 3,
        "parameters": Lineage(LANGUAGE).model("distilled").num_params(),
        "format_version": 2,
        "evaluations": 1,
    }
    return made


def params_of(run, stage, step) -> list[np.ndarray]:
    lineage, mesh = Lineage(read_config(str(run))), make_mesh(ParallelConfig(data=1))
    with stage_checkpoints(RunDirectory(run), lineage, stage) as checkpoints:
        params = load_params(checkpoints, step, lineage.model(stage), mesh)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def assert_same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_a_run_of_language_goes_there_and_back(run, folder, tmp_path):
    assert {path.name for path in folder.iterdir()} == {
        *("model.safetensors", "config.json", "README.md")
    }
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    back = tmp_path / "new" / "back"
    said = succeed("import", folder, back)
    assert said.startswith(f"imported: {back} (distilled at step 3, ") and len(said) < 200
    assert_same_bits(params_of(run, "distilled", 3), params_of(back, "distilled", 3))
    assert [path.name for path in back.parent.iterdir()] == ["back"]
    config = read_config(str(back))
    assert config.parallel == ParallelConfig() and config.model == LANGUAGE.model
    asked = ["4 7 8 8", "--budget", 2]
    assert read_json("solve", back, *asked)["policy"] == "distilled"
    assert "this run has distilled" in fail("solve", back, *asked, "--policy", "base")
    again = tmp_path / "again"  # what was imported can be shared on
    succeed("export", back, again, "--stage", "distilled")
    tensors = [path / "model.safetensors" for path in (folder, again)]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()
    config_file = write_config_file(tmp_path / "tiny.py")
    assert "is an imported run" in fail("train", config_file, "--run-dir", back)


def test_a_run_of_self_play_goes_there_and_back(tmp_path):
    run = make_run(tmp_path / "run", BOARD, {"self_play": BOARD_STEP})
    succeed("export", run, tmp_path / "folder")
    result = read_json("import", tmp_path / "folder", tmp_path / "back")
    assert (result["stage"], result["step"]) == ("self_play", BOARD_STEP)
    assert_same_bits(
        *(params_of(path, "self_play", BOARD_STEP) for path in (run, tmp_path / "back"))
    )
    assert succeed("play", tmp_path / "back", "--first", "run").startswith("tiny_board at step 3, ")
    assert "None yet." in (tmp_path / "folder" / "README.md").read_text()


def test_the_card_says_how_good_and_how_to_load(folder):
    card = ModelCard((folder / "README.md").read_text())
    assert card.data.to_dict()["library_name"] == "rlsearch"
    (result,) = card.data.eval_results
    assert result.metric_value == pytest.approx(0.6)
    assert (result.dataset_type, result.dataset_name) == ("held_out", "Game24, held_out")
    assert "| held_out | best_of_n | value_head | 4 | 60.0% | 46.2 to 72.4 | 50 |" in card.text
    assert "rlsearch import DIR runs/imported " in card.text


def test_the_stage_is_chosen_by_name(run, tmp_path):
    assert read_json("export", run, tmp_path / "base", "--stage", "base")["step"] == 3
    said = fail("export", run, tmp_path / "x", "--stage", "best")
    assert "stage is 'best': this run has base, distilled, control" in said
    assert not (tmp_path / "x").exists()
    assert "there already" in fail("export", run, tmp_path / "base")
    assert "there is no config.json" in fail("export", tmp_path / "nowhere", tmp_path / "x")


def test_where_the_authors_files_were_is_not_told(tmp_path):
    task = dataclasses.replace(LANGUAGE.task, data_dir="/home/somebody/secret")
    run = make_run(tmp_path / "run", dataclasses.replace(LANGUAGE, task=task), {"base": 3})
    assert succeed("export", run, tmp_path / "folder").startswith("exported: ")
    for path in (tmp_path / "folder").iterdir():
        assert b"somebody" not in path.read_bytes()


def changed(config: dict, path: str, value) -> dict:
    group, _, name = path.partition(".")
    if not name:
        return {**config, group: value}
    return {**config, group: changed(config.get(group, {}), name, value)}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format_version", 3, "format_version is 3: this version of rlsearch reads 1 to 2"),
        ("format_version", "1", "format_version is '1'"),
        ("stage", ["distilled"], "stage is ['distilled']: it must be a str"),
        ("stage", "best", "says stage 'best' and step 3: by its config that is the end of no stag"),
        ("step", 5, "says stage 'distilled' and step 5"),
        ("step", True, "step is True: it must be a int"),
        ("experiment", None, "experiment is None"),
        ("experiment.sead", 3, "sead = 3 is no field: the nearest is seed"),
        ("experiment.model.widht", 3, "model.widht = 3 is no field"),
        ("experiment.model.embed_dim", 24, "by its config it must be"),
        ("experiment.model.num_layers", 2, "has no tensor 'blocks.1."),
        ("experiment.model.tie_embeddings", False, "has no tensor"),
        ("experiment.task.cls", "os:system", "what is data may name rlsearch.*"),
        ("experiment.kind", ["chess"], "kind = ['chess'] is no field"),
        ("experiment", {"kind": ["chess"]}, "kind is ['chess']: it must be language or self_play"),
        ("experiment.format", 4, "format is 4: it must be a whole number up to 3"),
        ("experiment.seed", 1e999, "seed is inf"),
    ],
)
def test_a_folder_that_is_not_as_it_must_be_is_refused(folder, tmp_path, path, value, said):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(changed(config, path, value)))
    assert said in fail("import", copy, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "there is no"),
        ("config.json", b"{", "is not valid JSON"),
        ("config.json", b"[" * 100_000, "is not valid JSON"),
        ("config.json", b"[]", "has no format_version: it is no export of rlsearch"),
        ("config.json", b" " * 2_000_000, "it must have at most 1048576 bytes"),
        ("model.safetensors", None, "there is no"),
        ("model.safetensors", b"\x80\x04cos\nsystem\n(S'touch x'\ntR.", "is damaged"),
        ("model.safetensors", b"\0" * 30_000_000, "at most, header included"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(folder, tmp_path, name, content, said):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    assert said in fail("import", copy, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_is_there_is_left_and_nothing_half_written(folder, tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert "it must not exist, or be an empty folder" in fail("import", folder, tmp_path / "taken")
    (tmp_path / "empty").mkdir()

    def save(*_, **__):
        raise OSError(28, "No space left on device", "here")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", save)
        assert call("import", folder, tmp_path / "empty")[0] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "empty"}
    assert list((tmp_path / "empty").iterdir()) == []

    def unpickle(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, unpickle)
    succeed("import", folder, tmp_path / "empty")


def test_an_export_of_format_1_is_read(tmp_path):
    """It counts the steps of the run, and its experiment is one of format 1."""
    golden = FOLDER / "runs" / "tiny"
    lineage = Lineage(read_config(str(golden)))
    with stage_checkpoints(RunDirectory(golden), lineage, "distilled") as checkpoints:
        model, mesh = lineage.model("distilled"), make_mesh(ParallelConfig(data=1))
        params = load_params(checkpoints, 3, model, mesh)
    old, experiment = tmp_path / "old", json.loads((golden / "config.json").read_text())
    old.mkdir()
    write_tensors(old / "model.safetensors", params)
    described = {"format_version": 1, "stage": "distilled", "step": 6, "experiment": experiment}
    write_json(old / "config.json", described)
    result = read_json("import", old, tmp_path / "back")
    assert (result["format_version"], result["stage"], result["step"]) == (1, "distilled", 3)
    assert_same_bits(*(params_of(path, "distilled", 3) for path in (golden, tmp_path / "back")))
    saved = json.loads((tmp_path / "back" / "config.json").read_text())
    assert saved["format"] == 3 and "stages" in saved
    # What is exported of a run of format 1 is of format 2, and the same.
    assert read_json("export", golden, tmp_path / "new")["step"] == 3
    succeed("import", tmp_path / "new", tmp_path / "again")
    assert_same_bits(*(params_of(tmp_path / x, "distilled", 3) for x in ("back", "again")))
    for step in (3, 5, 9):  # the ends of other stages, and of none
        write_json(old / "config.json", {**described, "step": step})
        assert f"says stage 'distilled' and step {step}" in fail("import", old, tmp_path / "no")

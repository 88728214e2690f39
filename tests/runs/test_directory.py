import json
import os
import re

import jax
import pytest

from rlsearch.runs.directory import RunDirectory, new_folder, write_json


def test_a_config_comes_back(tmp_path):
    path = tmp_path / "runs" / "game24"
    assert RunDirectory(path, create=False).read_config() is None
    assert not path.exists()
    run = RunDirectory(path)
    assert run.read_config() is None
    config = {"seed": 3, "search": {"policy": "gumbel"}, "budgets": [1, 4], "rate": 0.1}
    run.write_config(config)
    assert RunDirectory(str(run.path)).read_config() == config
    assert [path.name for path in run.path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ['{"seed": 3, "sea', "", "[1, 2]", b"\xff\xfe"])
def test_a_damaged_config_is_one_sentence(tmp_path, text):
    run = RunDirectory(tmp_path)
    run.config.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))}/config.json is damaged"):
        run.read_config()


def test_a_failed_write_leaves_the_file_before(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    run.write_config({"seed": 1})
    with pytest.raises(TypeError):
        run.write_config({"seed": object()})
    with pytest.raises(ValueError):
        run.write_config({"seed": float("nan")})

    def replace(*_):
        raise OSError("disk")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="disk"):
        write_json(run.config, {"seed": 2})
    assert run.read_config() == {"seed": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_every_start_is_recorded(tmp_path):
    run = RunDirectory(tmp_path)
    run.record_start(["/usr/bin/rlsearch", "train", "game24"])
    run.record_start(["rlsearch", "train", "game24", "--seed", "1"], resumed_step=7)
    starts = json.loads(run.environment.read_text())
    assert [start["command"] for start in starts] == [
        ["rlsearch", "train", "game24"],
        ["rlsearch", "train", "game24", "--seed", "1"],
    ]
    assert [start.get("resumed_step") for start in starts] == [None, 7]
    for start in starts:
        assert start["packages"]["jax"] == jax.__version__
        assert set(start["packages"]) >= {"jaxlib", "flax", "optax", "orbax-checkpoint", "mctx"}
        assert (start["backend"], start["device_count"]) == ("cpu", 8)
        assert start["started"].endswith("+00:00")
        assert start["git_revision"] is None or len(start["git_revision"]) >= 40


def test_a_run_may_be_in_a_bucket(bucket):
    run = RunDirectory(bucket / "runs" / "game24")
    run.write_config({"seed": 3})
    run.record_start(["rlsearch", "train", "game24"])
    again = RunDirectory("gs://bucket/runs/game24", create=False)
    assert (
        again.read_config() == {"seed": 3} and len(json.loads(again.environment.read_text())) == 1
    )
    assert {path.name for path in run.path.iterdir()} == {"config.json", "environment.json"}
    with new_folder("gs://bucket/shared") as folder:
        write_json(folder / "a.json", [1])
    assert json.loads((bucket / "shared" / "a.json").read_text()) == [1]
    assert {path.name for path in bucket.iterdir()} == {"runs", "shared"}


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "a" / "b") as folder:
        write_json(folder / "x.json", 1)
        raise KeyError
    assert list((tmp_path / "a").iterdir()) == []
    with new_folder(tmp_path / "a" / "b") as folder:
        write_json(folder / "x.json", 1)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.json"]
    with pytest.raises(ValueError, match="it must not exist"), new_folder(tmp_path / "a"):
        pass

"""Every file that a command reads may be anything: the answer is one sentence, soon, in bounds.

The walk is over the files of a run and of an export, what may lie in their places, and the commands
that read them.
"""

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from rlsearch.checkpoints.tensors import write_tensors
from rlsearch.config_data import to_data
from rlsearch.runs.directory import RunDirectory, write_json
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.verifier import LabelsFrom, Verifier
from rlsearch.training import loop
from rlsearch.verifiers.label_files import abstract_labels, describe_task, part_path, write_part
from rlsearch.verifiers.labels import StepLabels
from tests.boards import tiny_board_experiment
from tests.boards import write_board_config_file as write_board_config
from tests.commands import call, the_error
from tests.tiny import tiny_experiment, write_config_file

SECONDS = 2.0
BYTES = 200 * 2**20

ROW = {"policy": "base", "checkpoint_step": 3, "strategy": "greedy", "verifier": "value head"}
ROW |= {"oracle": False, "budget": 1, "seed": 0, "accuracy": 0.5, "problems": 20}
STEP = {"step": 1, "seconds": 0.5, "stage": "base", "loss": 1.0}

# What stands in the place of each file.
CONTENTS = {
    "binary": b"\x00\xff\xfe\x80" * 100 + b"\n",
    "nothing in it": b"\n",
    "half": b'{"step": 1, "benchm\n',
    "deep": b"[" * 10_000 + b"]" * 10_000 + b"\n",
    "deep, unclosed": b'{"a":' * 100_000 + b"\n",
    "digits": b"[" + b"1" * 10_000 + b"]\n",
    "a list": b"[1, 2]\n",
    "a number": b"3\n",
    "text": b'"text"\n',
    "null": b"null\n",
    "wrong types": b'{"step": "1", "rows": 3, "benchmark": [], "weight_map": 3, "task": 3, '
    b'"format_version": [], "experiment": 3}\n',
    "infinite": b'{"step": 1e999, "seed": NaN, "rows": NaN, "weight_map": -Infinity}\n',
}
PLACES = ("pipe", "folder", "device", "giant", *CONTENTS)


def put(path, place):
    """Puts one of `PLACES` at `path`."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if place == "pipe":
        os.mkfifo(path)
    elif place == "folder":
        path.mkdir()
    elif place == "device":
        path.symlink_to("/dev/zero")
    elif place == "giant":
        with path.open("wb") as file:
            file.truncate(8 * 2**30)
    else:
        path.write_bytes(CONTENTS[place])


@contextlib.contextmanager
def bounded():
    """Breaks off what takes too long, and fails where it took too much memory."""

    def late(*_):
        raise AssertionError(f"it took over {SECONDS} seconds")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    usual = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
    began = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    assert time.process_time() - began < SECONDS  # other tests may hold the cores
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < BYTES


def describe(path):
    return (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_ino)


def make_run(path, config):
    """A run that nothing has been trained of."""
    run = RunDirectory(path)
    run.write_config({"format": 2, **to_data(config)})
    write_json(run.environment, [{"started": "today"}])
    run.metrics.write_text(json.dumps(STEP) + "\n")
    write_json(run.evaluations / "held_out.json", {"benchmark": "held_out", "rows": [ROW]})
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with all that the commands read."""
    root = tmp_path_factory.mktemp("made")
    config = tiny_experiment()
    make_run(root / "run", config)
    make_run(root / "board", tiny_board_experiment())
    params = jax.device_get(Lineage(config).model("base").init(jax.random.key(0)))
    experiment = {"format": 2, **to_data(config)}
    described = {"format_version": 2, "stage": "base", "step": 3, "experiment": experiment}
    for name in ("export", "sharded"):
        (root / name).mkdir()
        write_json(root / name / "config.json", described)
    write_tensors(root / "export" / "model.safetensors", params)
    write_tensors(root / "sharded" / "one.safetensors", params)
    names = [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    index = {"weight_map": dict.fromkeys(names, "one.safetensors")}
    write_json(root / "sharded" / "model.safetensors.index.json", index)
    make_labels(root / "labels", config.task)
    write_config_file(root / "tiny.py")
    judge = Verifier("prm", labels=LabelsFrom("labels"))
    judging = dataclasses.replace(config, stages=(config.stages[0], judge))
    write_config_file(root / "judging.py", judging)
    write_board_config(root / "tiny_board.py")
    return root


def make_labels(folder, task):
    shapes = abstract_labels(4, task)
    part = StepLabels(*(np.zeros(x.shape, x.dtype) for x in shapes))
    write_part(part_path(folder, 0), part)
    about = {"parts": 1, "solutions": 4, "solutions_of_a_part": 4}
    write_json(folder / "labels.json", {**describe_task(task, task), **about})


READ = {
    "run/config.json": (
        *("evaluate run", "solve run 1_2_3_4", "report run", "export run new"),
        "train tiny.py --run-dir run",
    ),
    "board/config.json": (
        *("evaluate board", "inspect board 1", "play board", "arena board board"),
        *("report board", "export board new", "train tiny_board.py --run-dir board"),
    ),
    "run/environment.json": ("train tiny.py --run-dir run",),
    "run/metrics.jsonl": ("report run", "train tiny.py --run-dir run"),
    "run/evaluations/held_out.json": ("report run",),
    "export/config.json": ("import export new",),
    "export/model.safetensors": ("import export new",),
    "sharded/config.json": ("import sharded new",),
    "sharded/model.safetensors.index.json": ("import sharded new",),
    "sharded/one.safetensors": ("import sharded new",),
    "labels/labels.json": ("train judging.py --run-dir other",),
    "labels/000000.npz": ("train judging.py --run-dir other",),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("file", READ)
def test_whatever_lies_there_the_answer_is_one_sentence(made, tmp_path, monkeypatch, file, place):
    top = file.partition("/")[0]
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    path = tmp_path / file
    put(path, place)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "run_stage", lambda *x: pytest.fail("training has begun"))
    there = describe(path)
    for command in READ[file]:
        words = [word.replace("_", " ") if "_4" in word else word for word in command.split()]
        with bounded():
            code, out, err = call(*words)
        assert (code, out) == (2, ""), (command, err)
        err = the_error(err)
        assert len(err) < 1500, err
        assert top in err or place in ("nothing in it",), err
        assert describe(path) == there and not (tmp_path / "new").exists()


@pytest.mark.parametrize("folder", ["export", "sharded"])
def test_what_is_as_it_must_be_is_read(made, tmp_path, folder):
    code, _, err = call("import", made / folder, tmp_path / "new")
    assert (code, err) == (0, "")
    assert len(json.loads((tmp_path / "new" / "imported.json").read_text())["sha256"]) == 64

import builtins
import dataclasses
import errno
import functools
import io
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal

import jax
import numpy as np
import pytest

from rlsearch.checkpoints.store import CheckpointError, CheckpointStore
from rlsearch.config import LogConfig
from rlsearch.config_file import ConfigError
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.lock import NAME, RunInUseError, RunLock
from rlsearch.tasks.game24 import Game24
from rlsearch.training import loop
from rlsearch.training.metrics import read_metrics
from rlsearch.training.stopping import TrainingStopped
from tests.commands import call
from tests.interruption import InterruptionError, limit_steps
from tests.killing import Moment, draw_seed, kill_training
from tests.tiny import STAGE_ENDS, tiny_experiment, with_stage, write_config_file

CONFIG = tiny_experiment()
PHASES = {"start", "compile", "step", "save"}
LAST = STAGE_ENDS["control"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole")
    summary = loop.train(CONFIG, str(path))
    assert summary["steps"] == LAST and summary["stages"] == STAGE_ENDS
    return path


@pytest.fixture
def interrupt_after(monkeypatch):
    """A function that makes every later `train` fail in front of step `k` of that start."""
    return functools.partial(limit_steps, monkeypatch)


def states(run) -> dict[str, dict]:
    """The last checkpoint of each stage: parameters, optimiser and replay."""
    mesh, found = make_mesh(CONFIG.parallel), {}
    for stage in loop.build_stages(Lineage(CONFIG)):
        with CheckpointStore(run / "checkpoints" / stage.name, keep=1) as store:
            assert store.permanent_steps() == [stage.num_steps]
            abstract = loop.abstract_state(stage, mesh)._asdict()
            restored = store.restore(stage.num_steps, abstract)
        found[stage.name] = jax.tree.map(np.asarray, restored)
    return found


def are_same(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def assert_same_run(run, other):
    assert are_same(states(run), states(other))
    lines = [read_metrics(path / "metrics.jsonl") for path in (run, other)]
    for rows in lines:
        assert [row["step"] for row in rows] == list(range(1, LAST + 1))
        seconds = [row.pop("seconds") for row in rows]
        assert seconds == sorted(seconds)  # a resumed run goes on counting
    assert lines[0] == lines[1]


def interrupt(run, config=CONFIG):
    with pytest.raises(InterruptionError):
        loop.train(config, str(run))


def test_stages_differ_and_learn(whole):
    base, distilled, control = (state["params"] for state in states(whole).values())
    assert are_same(base, base)
    for one, other in ((base, distilled), (base, control), (distilled, control)):
        assert not are_same(one, other)
    rows = read_metrics(whole / "metrics.jsonl")
    assert [row["stage"] for row in rows] == [s for s in STAGE_ENDS for _ in range(3)]
    assert {"policy_loss", "value_loss", "gradient_norm"} < set(rows[0])
    assert {"solved", "search_tokens"} < set(rows[4])


def test_an_interrupted_run_ends_as_if_it_had_not_been(whole, tmp_path, interrupt_after, capsys):
    def check_longer(name):
        lineage = Lineage(with_stage(CONFIG, name, num_steps=4))
        loop.check_same_run(lineage, RunDirectory(tmp_path))

    def assert_refused(name):
        with pytest.raises(ConfigError, match=f"{name}.num_steps .3 there, 4 now"):
            check_longer(name)

    interrupt_after(3)  # at the end of a stage
    interrupt(tmp_path)
    # Only a stage that has not begun may change its length.
    check_longer("distilled")
    assert_refused("base")
    interrupt_after(2)  # within the next
    interrupt(tmp_path)
    for name in ("base", "distilled"):
        assert_refused(name)
    said = capsys.readouterr().err
    assert said.startswith("tiny: preparing to train in ")
    lines = said.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("base "))
    assert lines[first] == "base 0/3  compiling the step"
    assert "resuming with changes to distilled.num_steps" in said
    assert re.search(
        r"^base: first step after \d+\.\d s, with its compilation$", said, re.MULTILINE
    )
    # Now what was done since the end of a stage is lost.
    seldom = dataclasses.replace(CONFIG, log=LogConfig(every_steps=1, checkpoint_seconds=1e6))
    interrupt_after(2)
    interrupt(tmp_path, seldom)
    assert "resuming with changes to log.checkpoint_seconds" in capsys.readouterr().err
    interrupt_after(None)
    assert loop.train(CONFIG, str(tmp_path))["steps"] == LAST
    starts = json.loads((tmp_path / "environment.json").read_text())
    resumed = [start["resumed_step"] for start in starts]
    assert resumed == [0, 3, 5, 6]
    compiled = [start["first_step_seconds"] for start in starts]
    assert [set(seconds) for seconds in compiled] == [
        {"base"},
        {"distilled"},
        {"distilled", "control"},
        {"control"},
    ]
    assert all(0 < value < 600 for seconds in compiled for value in seconds.values())
    assert_same_run(whole, tmp_path)


def test_a_finished_run_is_left_as_it_is(whole, interrupt_after):
    def files():
        kept = [whole / "metrics.jsonl", whole / "config.json"]
        kept += [path for path in (whole / "checkpoints").rglob("*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}

    before = {path: content for path, (content, _) in files().items()}
    written = {path: time for path, (_, time) in files().items() if "checkpoints" in str(path)}
    interrupt_after(0)  # no step is to be taken
    summary = loop.train(CONFIG, str(whole))
    assert summary["steps"] == LAST
    assert before == {path: content for path, (content, _) in files().items()}
    for path, (_, modified) in files().items():
        assert modified == written.get(path, modified)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (
            with_stage(CONFIG, "distilled", num_steps=4),
            r"distilled.num_steps \(3 there, 4 now\)",
        ),
        (
            dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, embed_dim=24)),
            r"model.embed_dim \(16 there, 24 now\)",
        ),
        (
            with_stage(CONFIG, "distilled", search={"policy": "puct"}),
            r"distilled.search.policy \('gumbel' there, 'puct' now\)",
        ),
    ],
)
def test_another_config_is_refused(whole, other, named):
    saved = (whole / "config.json").read_text()
    with pytest.raises(ConfigError, match=named):
        loop.train(other, str(whole))
    assert (whole / "config.json").read_text() == saved


def test_a_config_that_cannot_run_does_not_take_the_directory(tmp_path):
    mesh = dataclasses.replace(CONFIG.parallel, data=8)  # of which 4 problems cannot be shared
    with pytest.raises(ValueError, match="'distilled' runs 4 problems or games"):
        loop.train(dataclasses.replace(CONFIG, parallel=mesh), str(tmp_path))
    with pytest.raises(ValueError, match="distilled.start is 'bass': it must be a stage .*, base"):
        loop.train(with_stage(CONFIG, "distilled", start="bass"), str(tmp_path))
    task = Game24(split="tot", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="24.csv"):
        loop.train(dataclasses.replace(CONFIG, task=task), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["control", pytest.param("distilled", marks=pytest.mark.slow)])
def test_a_damaged_newest_checkpoint_costs_its_steps_alone(whole, tmp_path, stage, capsys):
    run, step = tmp_path / "run", 3
    shutil.copytree(whole, run)
    folder = run / "checkpoints" / stage
    for path in (run / "checkpoints").iterdir():  # as the run was when it had come to that step
        if STAGE_ENDS[path.name] > STAGE_ENDS[stage]:
            shutil.rmtree(path)
    files = [path for path in (folder / str(step)).rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    loop.train(CONFIG, str(run))
    warning = capsys.readouterr().err
    assert f"checkpoint {step} in {folder}" in warning and "is damaged" in warning
    assert f"set aside as {step}.damaged" in warning
    assert (folder / f"{step}.damaged").is_dir()
    assert_same_run(whole, run)


def test_a_checkpoint_is_not_ahead_of_the_metrics(tmp_path, monkeypatch, interrupt_after):
    """What is killed behind a checkpoint resumes there, and never writes that step's line again."""
    save, seen = CheckpointStore.save, []

    def checked(store, step, *arguments, **options):
        seen.append((step, read_metrics(tmp_path / "metrics.jsonl")[-1]["step"]))
        return save(store, step, *arguments, **options)

    monkeypatch.setattr(CheckpointStore, "save", checked)
    interrupt_after(3)
    interrupt(tmp_path)
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    make_step = loop.make_step

    def broken(*arguments):
        step = make_step(*arguments)

        def one(state, key, *rest):
            state, metrics = step(state, key, *rest)
            if key_data(key) == key_data(loop.run_key(CONFIG.seed, "training", 2)):
                metrics["policy_loss"] = metrics["policy_loss"] * np.nan
            return state, metrics

        return one

    def key_data(key):
        return jax.random.key_data(key).tolist()

    monkeypatch.setattr(loop, "make_step", broken)
    with pytest.raises(FloatingPointError, match="policy_loss is nan: training diverged"):
        loop.train(CONFIG, str(tmp_path))
    with CheckpointStore(tmp_path / "checkpoints" / "base", keep=1) as store:
        assert store.latest_step() == 2


def test_a_run_that_is_being_trained_is_left_alone(whole, capsys):
    """Another training of it says whose it is, and has read and written nothing."""
    before = contents(whole)
    with RunLock(whole, lambda sentence: None):
        code, out, err = call("train", write_config_file(whole.parent / "c.py"), "--run-dir", whole)
    assert (code, out) == (1, "")
    *said, error = err.splitlines()
    assert said == [f"tiny: preparing to train in {whole}"]
    assert error.startswith(f"error: {whole} is being trained by process {os.getpid()} on ")
    assert contents(whole) == before


def test_a_training_that_another_has_taken_over_ends(tmp_path, monkeypatch, interrupt_after):
    check = loop.RunLock.check
    monkeypatch.setattr(
        loop.RunLock, "check", lambda lock: check(lock) if len(saved()) < 2 else stop()
    )

    def saved():
        return [path for path in (tmp_path / "checkpoints").glob("*/*") if path.name.isdecimal()]

    def stop():
        raise RunInUseError("it is another's")

    with pytest.raises(RunInUseError, match="it is another's"):
        loop.train(CONFIG, str(tmp_path))
    assert len(saved()) == 2 and not (tmp_path / NAME).exists()


def test_a_signal_while_it_is_prepared_ends_a_training(whole, tmp_path, monkeypatch):
    """Nothing is lost, no step is taken, and the lock is released."""
    run = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "control")  # as it was in the midst of the last stage
    restore = CheckpointStore.restore_latest

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return restore(*arguments)

    monkeypatch.setattr(CheckpointStore, "restore_latest", signalled)
    before = contents(run)
    with pytest.raises(TrainingStopped, match=r"step 6 of 9 is saved"):
        loop.train(CONFIG, str(run))
    after = contents(run)
    assert {name for name in before if after.get(name) != before[name]} == {
        "metrics.jsonl",  # of steps beyond the checkpoint
        "environment.json",
    }
    assert NAME not in after


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "environment.json", "metrics.jsonl", NAME),
        *("checkpoints", "checkpoints/base", "checkpoints/control"),
    ],
)
def test_what_cannot_be_read_now_ends_a_training_and_is_left(whole, tmp_path, monkeypatch, name):
    """A run whose files cannot be looked at is not taken for a new one."""
    run = shutil.copytree(whole, tmp_path / "run")
    before = contents(run)
    with monkeypatch.context() as patch:
        fail_calls(patch, run / name)
        with pytest.raises((OSError, CheckpointError)) as caught:
            loop.train(CONFIG, str(run))
    assert os.strerror(errno.ESTALE) in str(caught.value)
    after = contents(run)
    changed = {path for path in before.keys() | after if after.get(path) != before.get(path)}
    assert changed <= ({"environment.json"} if name == "metrics.jsonl" else set())


def fail_calls(monkeypatch, path: pathlib.Path):
    """Makes every call that looks at a file, or opens it, fail as a network's file system may."""
    for module, name in (
        (os, "stat"),
        (os, "open"),
        (os, "scandir"),
        (os, "listdir"),
        (io, "open"),
        (builtins, "open"),
    ):
        real = getattr(module, name)

        def failing(*arguments, real=real, **options):
            if arguments and str(arguments[0]) == str(path):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, failing)


def contents(run) -> dict[str, bytes]:
    files = (path for path in run.rglob("*") if path.is_file())
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_a_checkpoint_beyond_the_runs_end_is_not_its_own(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    last = run / "checkpoints" / "control"
    shutil.copytree(last / "3", last / "500")
    sentence = "500 is no checkpoint of this run, whose stage control has 3"
    with pytest.raises(CheckpointError, match=sentence):
        loop.train(CONFIG, str(run))
    assert (last / "500").is_dir() and (last / "3").is_dir()


@pytest.mark.slow
def test_a_run_may_go_on_over_other_devices(whole, tmp_path, interrupt_after):
    interrupt_after(5)
    interrupt(tmp_path)
    interrupt_after(None)
    mesh = dataclasses.replace(CONFIG.parallel, data=4)
    loop.train(dataclasses.replace(CONFIG, parallel=mesh), str(tmp_path))
    one, other = (jax.tree.leaves(states(run)) for run in (whole, tmp_path))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


START, COMPILE = Moment("start", 3.0), Moment("compile", 0.5)
BASE, LATER = Moment("step", 0.2), Moment("step", 0.3, STAGE_ENDS["base"])
SAVE, LATER_SAVE = Moment("save", 0.05), Moment("save", 0.05, STAGE_ENDS["base"] + 2)


@pytest.mark.slow
def test_a_run_killed_at_20_moments_ends_as_if_it_had_not_been(whole, tmp_path):
    config = write_config_file(tmp_path / "tiny.py")
    chance = random.Random(draw_seed())
    lives = itertools.cycle(
        [
            (START, BASE, LATER, LATER_SAVE),
            (SAVE, COMPILE, LATER_SAVE, LATER),
            (COMPILE, SAVE, START, LATER_SAVE),
            (BASE, SAVE, LATER_SAVE, COMPILE),
        ]
    )
    kills = []
    for number, moments in enumerate(lives):
        run = tmp_path / f"run{number}"
        for moment in moments:
            kill = kill_training(config, run, moment, chance)
            if kill is None:  # it was done before
                break
            kills.append(kill)
        loop.train(CONFIG, str(run))
        assert_same_run(whole, run)
        if len(kills) >= 20 and {kill.phase for kill in kills} == PHASES or len(kills) >= 60:
            break
    print(*kills, sep="\n")
    base = STAGE_ENDS["base"]
    assert {kill.phase for kill in kills} == PHASES
    steps = [kill.step for kill in kills if kill.phase in ("step", "save")]
    assert min(steps) < base < max(steps)
    filled = base + 2  # the replay has room for the rows of two steps
    assert any(kill.phase == "save" and kill.step >= filled for kill in kills)

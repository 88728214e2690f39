"""A step in two halves: the host judges between them, row by row, and no failure spreads."""

import dataclasses
import json
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import data_sharding, make_mesh
from rlsearch.parallel.sharding import placed_rows
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import HostJudge
from rlsearch.training import loop
from rlsearch.training.judging import judge_rows
from rlsearch.training.metrics import read_metrics
from tests.own_stage import Imitation
from tests.tiny import tiny_experiment

FAILED = np.float32(-1.0)


def rows(number: int) -> jax.Array:
    """`[number, 1]` int32, split over eight devices."""
    mesh = make_mesh(ParallelConfig(data=8))
    return jax.device_put(jnp.arange(number)[:, None], data_sharding(mesh))


def verdicts(judge, number: int = 16, **settings) -> tuple[list[float], list[bool]]:
    """What each of so many rows got, and which failed."""
    judged = judge_rows(HostJudge(judge, FAILED, **settings), rows(number))
    assert sorted(judged) == list(range(number))
    each = [judged[row] for row in range(number)]
    return [float(x.verdict) for x in each], [bool(x.failed) for x in each]


def test_each_row_is_judged_once():
    seen = []

    def judge(row):
        seen.append(int(row[0]))
        return np.float32(2 * row[0])

    found, failed = verdicts(judge)
    assert sorted(seen) == list(range(16))
    assert found == [2.0 * row for row in range(16)] and not any(failed)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: 1 / 0,
        lambda: sys.exit(0),
        lambda: np.zeros(2, np.float32),
        lambda: np.float32(np.nan),
        lambda: None,
        lambda: "right",
        lambda: {"verdict": 1.0},
    ],
    ids=["raises", "exits", "another shape", "no number", "nothing", "text", "another structure"],
)
def test_a_row_whose_judge_fails_costs_itself_alone(answer):
    found, failed = verdicts(lambda row: answer() if row[0] == 5 else np.float32(1.0))
    assert found == [-1.0 if row == 5 else 1.0 for row in range(16)]
    assert failed == [row == 5 for row in range(16)]


def test_a_judge_that_hangs_costs_its_own_rows_and_a_bounded_time():
    free = threading.Event()
    began = time.monotonic()
    found, failed = verdicts(
        lambda row: free.wait(60) and FAILED if row[0] < 4 else np.float32(1.0),
        seconds=0.3,
        threads=2,
    )
    free.set()
    assert time.monotonic() - began < 5.0
    assert failed == [row < 4 for row in range(16)]
    assert found[4:] == [1.0] * 12


def test_judgements_go_back_to_the_devices_of_their_rows():
    mesh = make_mesh(ParallelConfig(data=8))
    judged = {row: {"a": np.float32(row), "b": np.arange(2) + row} for row in range(16)}
    placed = placed_rows(mesh, judged, 16)
    assert placed["a"].sharding == data_sharding(mesh)
    assert placed["a"].tolist() == list(range(16))
    assert np.array_equal(placed["b"], np.arange(16)[:, None] + np.arange(2))


class Hostile(Imitation):
    """Its judge raises at one problem, and hangs at another."""

    def grade(self, problem: str, solution: str) -> float:
        if hash_of(problem) % 5 == 0:
            raise ValueError("no")
        if hash_of(problem) % 5 == 1:
            time.sleep(30)
        return super().grade(problem, solution)


def hash_of(text: str) -> int:
    return sum(text.encode())


def own_experiment(stage: Imitation | None = None, **changes):
    tiny = tiny_experiment()
    return dataclasses.replace(tiny, stages=(tiny.stages[0], stage or Imitation()), **changes)


def trained(config, folder) -> tuple[list[dict], dict]:
    """Metrics of a training without their times, and its last state."""
    loop.train(config, str(folder))
    lines = read_metrics(RunDirectory(folder, create=False).metrics)
    for line in lines:
        del line["seconds"]
    return lines, last_state(config, folder)


def last_state(config, folder) -> dict:
    lineage, mesh = Lineage(config, ("tests",)), make_mesh(config.parallel)
    place = loop.Place(RunDirectory(folder, create=False), lineage, mesh)
    found = place.newest(loop.build_stages(lineage))
    assert found is not None
    return jax.tree.map(np.asarray, found.state.params)


def same(one, other) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupts, on one device."""
    return trained(own_experiment(), tmp_path_factory.mktemp("own") / "run")


def test_judgements_are_learnt_from(whole):
    lines, _ = whole
    own = [line for line in lines if line["stage"] == "imitation"]
    assert [line["stage_step"] for line in own] == [1, 2, 3]
    assert any(line["solved"] > 0 for line in own)
    assert all(line["judge_failures"] == 0 for line in own)


def test_a_stage_with_a_judge_is_resumed_exactly(whole, tmp_path):
    config, run = own_experiment(), tmp_path / "run"
    loop.train(config, str(run))
    for step in (2, 3):  # as if the training had been killed behind its first step
        for path in (run / "checkpoints" / "imitation").glob(f"{step}*"):
            path.unlink() if path.is_file() else subprocess.run(["rm", "-r", path], check=True)
    lines, state = trained(config, run)
    assert lines == whole[0]
    assert same(state, whole[1])


def test_failures_are_counted_and_nothing_else_is_lost(tmp_path):
    stage = Hostile(judge_seconds=0.2)
    lines, _ = trained(own_experiment(stage), tmp_path / "run")
    own = [line for line in lines if line["stage"] == "imitation"]
    assert len(own) == 3
    assert all(0 < line["judge_failures"] < 1 for line in own[:1])
    assert all(np.isfinite(line["value_loss"]) for line in own)


CONFIG = """
import sys
import types

tests = sys.modules["tests"] = types.ModuleType("tests")  # pgx installs another of that name
tests.__path__ = [{root!r} + "/tests"]
from tests.training.test_host_judge import own_experiment
from rlsearch.config import ParallelConfig

config = own_experiment(parallel=ParallelConfig(data={data}))
"""


@pytest.mark.slow
def test_a_killed_training_and_two_processes_come_to_the_same(whole, tmp_path):
    from tests.launch.two_processes import ROOT, environment, start_pair

    def config_file(data: int) -> str:
        path = tmp_path / f"own_{data}.py"
        path.write_text(CONFIG.format(root=str(ROOT), data=data))
        return str(path)

    def command(data: int, run) -> list[str]:
        arguments = ["train", config_file(data), "--run-dir", str(run)]
        return [sys.executable, "-m", "rlsearch", *arguments]

    run = tmp_path / "killed"
    process = subprocess.Popen(command(1, run), env=environment(), stderr=subprocess.DEVNULL)
    while not (run / "checkpoints" / "imitation" / "1").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(1, run), env=environment(), check=True, stderr=subprocess.DEVNULL)
    shared = tmp_path / "shared"
    pair = start_pair(command(2, shared), [tmp_path, tmp_path])
    for process in pair:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors

    def solved(folder) -> list[float]:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [x["solved"] for x in map(json.loads, lines) if x["stage"] == "imitation"]

    wanted = [line["solved"] for line in whole[0] if line["stage"] == "imitation"]
    assert solved(run) == wanted
    assert np.allclose(solved(shared), wanted, atol=1e-6)

import dataclasses
import errno
import functools
import json
import os
import random
import re
import signal
import subprocess

import jax
import numpy as np
import pytest

from rlsearch.checkpoints.store import CheckpointError, CheckpointStore
from rlsearch.config import ParallelConfig, ProfileConfig
from rlsearch.config_data import ConfigError, to_data
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.opening import FORMAT, experiment_of
from rlsearch.stages.self_play import playing_stage
from rlsearch.training import loop
from rlsearch.training.beginning import check_best_metric
from rlsearch.training.metrics import MetricsWriter, read_metrics
from rlsearch.training.stopping import TrainingStopped
from tests.boards import tiny_board_experiment, write_board_config_file
from tests.interruption import InterruptionError, limit_steps, signal_in_step
from tests.killing import Moment, draw_seed, kill_training, signal_training
from tests.tiny import tiny_experiment

CONFIG = tiny_board_experiment()
STAGE = playing_stage(CONFIG)
LAST = STAGE.num_steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole")
    summary = loop.train(CONFIG, str(path))
    assert summary["steps"] == LAST and summary["stages"] == {"self_play": LAST}
    return path


@pytest.fixture
def interrupt_after(monkeypatch):
    """A function that makes every later `train` fail in front of step `k` of that start."""
    return functools.partial(limit_steps, monkeypatch)


def last_state(run) -> dict:
    """Parameters, optimiser, games, replay and returns of the last checkpoint."""
    (stage,) = loop.build_stages(Lineage(CONFIG))
    abstract = loop.abstract_state(stage, make_mesh(CONFIG.parallel))
    with CheckpointStore(run / "checkpoints" / "self_play", keep=1) as store:
        return jax.tree.map(np.asarray, store.restore(LAST, abstract._asdict()))


def steps(run) -> list[int]:
    with CheckpointStore(run / "checkpoints" / "self_play", keep=1) as store:
        return store.steps()


def lines(run) -> list[dict]:
    rows = read_metrics(run / "metrics.jsonl")
    for row in rows:
        row.pop("seconds")
    return rows


def test_an_interrupted_run_of_self_play_ends_as_if_it_had_not_been(
    whole, tmp_path, interrupt_after
):
    best = {"keep_best": 1, "best_metric": "self_play/value_loss"}
    log = dataclasses.replace(CONFIG.log, keep_checkpoints=1, **best)
    interrupt_after(3)
    with pytest.raises(InterruptionError):
        loop.train(dataclasses.replace(CONFIG, log=log), str(tmp_path))
    highest = max((row["value_loss"], row["step"]) for row in lines(tmp_path))[1]
    assert steps(tmp_path) == sorted({highest, 3})
    interrupt_after(None)
    profiled = dataclasses.replace(CONFIG, profile=ProfileConfig((LAST, LAST)))
    assert loop.train(profiled, str(tmp_path))["steps"] == LAST
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1
    starts = json.loads((tmp_path / "environment.json").read_text())
    assert [start["resumed_step"] for start in starts] == [0, 3]
    assert_same_run(whole, tmp_path)


def test_a_run_that_is_asked_to_stop_has_saved_what_it_did(whole, tmp_path, monkeypatch):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    seldom = dataclasses.replace(
        CONFIG.log, checkpoint_seconds=1e6, keep_every_steps=3, keep_checkpoints=1
    )
    config = dataclasses.replace(CONFIG, log=seldom)
    signal_in_step(monkeypatch, 2, signal.SIGTERM)
    with pytest.raises(TrainingStopped, match=f"step 2 of {LAST} is saved") as stopped:
        loop.train(config, str(tmp_path))
    assert (stopped.value.step, stopped.value.signal) == (2, signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    signal_in_step(monkeypatch, LAST - 2, signal.SIGINT)  # in the last step: that finishes the run
    assert loop.train(config, str(tmp_path))["steps"] == LAST
    assert_same_run(whole, tmp_path)
    assert steps(tmp_path) == [3, LAST]


def test_a_metric_that_there_is_not_is_named():
    log = dataclasses.replace(CONFIG.log, keep_best=1, best_metric="self_play/solved")
    check_best_metric(log, ["base"], {"loss": 0.0})  # of another stage
    with pytest.raises(
        ValueError, match="'self_play/solved': it must be self_play/ and one of a, b"
    ):
        check_best_metric(log, ["self_play"], {"b": 0.0, "a": 0.0})


def test_a_killed_run_of_self_play_ends_as_if_it_had_not_been(whole, tmp_path):
    config, chance = write_board_config_file(tmp_path / "board.py"), random.Random(draw_seed())
    # In the midst of a save, when the replay is full, as it is from the second step on.
    for number in range(5):  # a save may be over before the kill comes
        run = tmp_path / f"run{number}"
        kill = kill_training(config, run, Moment("save", 0.05, beyond=2), chance)
        print(kill)
        if kill is not None and kill.phase == "save":
            break
    assert kill is not None and kill.phase == "save" and kill.step >= 2
    # And wherever the next start has come to.
    print(kill_training(config, run, Moment("start", 4.0), chance))
    loop.train(CONFIG, str(run))
    assert_same_run(whole, run)


def test_a_run_on_several_devices_is_resumed_bit_for_bit(tmp_path, interrupt_after):
    config = dataclasses.replace(CONFIG, parallel=ParallelConfig(data=2, model=2))
    loop.train(config, str(tmp_path / "whole"))
    interrupt_after(2)
    with pytest.raises(InterruptionError):
        loop.train(config, str(tmp_path / "resumed"))
    interrupt_after(None)
    loop.train(config, str(tmp_path / "resumed"))
    assert_same_run(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.slow
def test_the_command_that_a_stopped_training_prints_resumes_it(whole, tmp_path):
    config, run = write_board_config_file(tmp_path / "board.py"), tmp_path / "the run"
    chance = random.Random(draw_seed())
    moment = Moment("compile", 0.1)  # it saves its first step, or the one after, and leaves
    code, errors = signal_training(config, run, moment, chance, signal.SIGTERM)
    assert code == 143, errors
    assert "SIGTERM: saving after this step" in errors
    said = rf"stopped by SIGTERM: step [0-{LAST - 1}] of {LAST} is saved; resume with: "
    assert re.search(said, errors), errors[-2000:]
    again = errors.splitlines()[-1].partition("resume with: ")[2]
    subprocess.run(again, shell=True, check=True, capture_output=True)
    assert_same_run(whole, run)


def assert_same_run(run, other_run):
    one, other = (jax.tree_util.tree_leaves_with_path(last_state(run)) for run in (run, other_run))
    for (path, a), (_, b) in zip(one, other, strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), path
    assert lines(run) == lines(other_run)


def test_a_checkpoint_holds_the_games_and_what_is_remembered_of_them(whole):
    state = last_state(whole)
    games, (rows, added), returns = state["memory"]
    assert games.moves.shape == (4,) and games.moves.any()
    assert (added == LAST * STAGE.moves_per_step).all()
    assert rows.policy.shape == (4, 6, 9) and returns.shape == (4, 6)
    np.testing.assert_allclose(rows.policy.sum(axis=2), 1.0, atol=1e-5)
    assert returns.any()
    along = jax.tree.map(lambda x, y: np.concatenate([x, y[:, None]], 1), rows.state, games)
    went_on = rows.discount != 0.0
    np.testing.assert_array_equal(along.moves[:, 1:][went_on], rows.state.moves[went_on] + 1)
    assert (along.moves[:, 1:][~went_on] <= STAGE.random_opening).all()
    assert went_on.any()


def test_every_step_says_how_it_went(whole):
    rows = lines(whole)
    assert [row["step"] for row in rows] == list(range(1, LAST + 1))
    named = {"policy_loss", "policy_divergence", "value_loss", "value_error", "replay_age", "ends"}
    for row in rows:
        assert named | {"decisions", "gradient_norm"} <= set(row) and row["stage"] == "self_play"
        assert all(np.isfinite(row[name]) for name in named)
    # As sampled from the three, and then six, newest moves.
    assert [rows[0]["replay_age"] <= 2, rows[-1]["replay_age"] <= 5] == [True, True]


def test_the_config_keeps_its_kind(whole):
    saved = json.loads((whole / "config.json").read_text())
    assert saved == {"format": FORMAT, **json.loads(json.dumps(to_data(CONFIG)))}
    assert [stage["cls"] for stage in saved["stages"]] == ["rlsearch.stages.self_play:SelfPlay"]
    assert experiment_of(saved) == CONFIG
    with pytest.raises(ConfigError, match="kind is 'chess': it must be language or self_play"):
        experiment_of({"kind": "chess"})  # of format 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"environment": PgxGame(game="connect_four")},
            r"self_play.environment.game \('tic_tac_toe' there, 'conn",
        ),
        ({"td_lambda": 1.0}, r"self_play.td_lambda \(0.5 there, 1.0 now\)"),
        (
            {"search": dataclasses.replace(STAGE.search, num_simulations=4)},
            r"self_play.search.num_simulations \(3 there, 4 now\)",
        ),
    ],
)
def test_another_config_is_refused_by_its_field(whole, changes, named):
    saved = (whole / "config.json").read_text()
    with pytest.raises(ConfigError, match=named):
        loop.train(tiny_board_experiment(**changes), str(whole))
    assert (whole / "config.json").read_text() == saved


def test_a_run_of_another_kind_is_refused(whole):
    named = r"self_play.cls \('rlsearch.stages.self_play:SelfPlay' there, 'nothing' now\)"
    with pytest.raises(ConfigError, match=f"the run has another config, in .*{named}"):
        loop.train(tiny_experiment(), str(whole))


def test_how_the_trained_network_plays_may_change(whole, capsys):
    play = dataclasses.replace(STAGE.play, num_simulations=5)
    assert loop.train(tiny_board_experiment(play=play), str(whole))["steps"] == LAST
    assert "resuming with changes to self_play.play.num_simulations" in capsys.readouterr().err
    loop.train(CONFIG, str(whole))


@pytest.mark.slow
def test_self_play_is_the_same_over_other_devices(whole, tmp_path):
    mesh = dataclasses.replace(CONFIG.parallel, data=4)
    loop.train(dataclasses.replace(CONFIG, parallel=mesh), str(tmp_path))
    one, other = last_state(whole), last_state(tmp_path)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_training_on_a_disk_that_gets_full_says_what_is_left(tmp_path, monkeypatch):
    write = MetricsWriter.write

    def no_room(self, step, *rest):
        if step == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, step, *rest)

    monkeypatch.setattr(MetricsWriter, "write", no_room)
    # What closing fails with then is not what is told.
    monkeypatch.setattr(MetricsWriter, "close", lambda self: 1 / 0)
    said = "could not be written to: the disk is full; of checkpoints, the last good one is 2"
    with pytest.raises(CheckpointError, match=said):
        loop.train(CONFIG, str(tmp_path))
    monkeypatch.undo()
    assert loop.train(CONFIG, str(tmp_path))["steps"] == LAST

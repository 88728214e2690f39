"""`rlsearch sweep`: which runs it makes, and that what is wrong is said before any."""

import contextlib
import signal
import sys
import types

import pytest

from rlsearch.cli import sweep
from tests.commands import call, fail, read_json
from tests.tiny import write_config_file


@pytest.fixture
def config(tmp_path):
    return write_config_file(tmp_path / "tiny.py")


@pytest.fixture
def called(monkeypatch):
    """The command lines that would have been run, and the exit code that the next one has."""
    seen = types.SimpleNamespace(commands=[], code=0, waits=0, interrupted_wait=None)

    def wait():
        seen.waits += 1
        if seen.waits == seen.interrupted_wait:
            raise KeyboardInterrupt
        return seen.code

    def start(command, stdout):
        assert command[:3] == [sys.executable, "-m", "rlsearch"]
        seen.commands.append(command[3:])
        return contextlib.nullcontext(types.SimpleNamespace(wait=wait))

    monkeypatch.setattr(sweep.subprocess, "Popen", start)
    return seen


SIMULATIONS, POLICY = "distilled.search.num_simulations", "distilled.search.policy"
VARY = ("--vary", f"{SIMULATIONS}=3,4", f"{POLICY}=gumbel,puct", "--seeds", 0, 7)


def test_every_combination_and_seed_is_trained_and_evaluated(config, called, tmp_path):
    argv = ("sweep", config, *VARY, "--sweep-dir", tmp_path / "s", "--evaluate", "--data-dir", "d")
    result = read_json(*argv, "--base.num_steps", 2)
    assert len(result["runs"]) == 8 and len(called.commands) == 16
    assert len({made["run_dir"] for made in result["runs"]}) == 8
    first = result["runs"][0]
    assert first["values"] == {SIMULATIONS: "3", POLICY: "gumbel"}
    assert first["run_dir"] == f"{tmp_path}/s/{SIMULATIONS}=3_{POLICY}=gumbel_seed=0"
    train, evaluate = called.commands[:2]
    assert train[:3] == ["train", config, f"--run-dir={first['run_dir']}"]
    assert train[3:] == [
        *("--data-dir=d", "--base.num_steps", "2"),
        *(f"--{SIMULATIONS}=3", f"--{POLICY}=gumbel", "--seed=0"),
    ]
    assert evaluate == ["evaluate", first["run_dir"], "--data-dir=d"]
    assert [made["seed"] for made in result["runs"]] == [0, 7] * 4


def test_without_anything_varied_there_are_seeds(config, called):
    result = read_json("sweep", config, "--seeds", 1, 2)
    assert [made["run_dir"] for made in result["runs"]] == [
        "runs/tiny_sweep/seed=1",
        "runs/tiny_sweep/seed=2",
    ]


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("distilled.search.num_simulations", "give a field and its values, such as seed=0,1"),
        ("distilled.search.num_simulations=3,", "give a field and its values"),
        ("distilled.search.num_simulation=3", "the nearest is"),
        ("distilled.search.num_simulations=3,x", "'x'"),
        ("distilled.search.num_simulations=3,0", "at least 1"),
        ("seed=1,2", "--seeds"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(config, called, vary, said):
    assert said in fail("sweep", config, "--vary", vary)
    assert called.commands == []


def test_a_run_that_fails_is_named_and_ends_the_sweep(config, called, tmp_path):
    called.code = 1
    code, _, err = call("sweep", config, *VARY, "--sweep-dir", tmp_path / "s")
    assert code == 1 and len(called.commands) == 1
    assert "seed=0 ended with exit code 1: what is trained is kept" in err.splitlines()[-1]


def test_an_interrupted_sweep_lets_the_training_save(config, called, tmp_path):
    called.interrupted_wait = 1
    code, _, err = call("sweep", config, *VARY, "--sweep-dir", tmp_path / "s")
    assert (code, len(called.commands), called.waits) == (130, 1, 2)
    assert err.endswith("interrupted\n")


def test_sigterm_is_passed_on_to_the_training(config, monkeypatch, tmp_path):
    script = tmp_path / "python"
    script.write_text("""#!/bin/sh
trap 'exit 143' TERM
kill -TERM $PPID
while :; do sleep 0.1; done
""")
    script.chmod(0o755)
    monkeypatch.setattr(sweep.sys, "executable", str(script))
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = call("sweep", config, *VARY, "--sweep-dir", tmp_path / "s")
    assert code == 143 and signal.getsignal(signal.SIGTERM) == before
    assert "seed=0 ended by SIGTERM: what is trained is kept" in err.splitlines()[-1]

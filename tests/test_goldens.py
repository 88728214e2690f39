"""What the package computes is what it computed when the goldens were recorded.

Tokens and counts are the same, floats to 1e-6; see `tests.golden_runs`, which also writes them
again. On another machine floats differ in their last digits; a token seldom does, but it may.
"""

import pytest

from tests import golden_runs
from tests.golden_runs import (
    COMMANDS,
    CONFIGS,
    FOLDER,
    JUDGES,
    STRATEGIES,
    copied_runs,
    differences,
    golden,
    saved_experiments,
    stage_experiments,
)


def assert_same(recorded, found, *path: str) -> None:
    """Fails with the places that differ, the first ones of many."""
    lines = differences(recorded, golden_runs.plain(found), path)
    if lines:
        pytest.fail("\n".join([f"{len(lines)} differences", *lines[:20]]), pytrace=False)


QUICK = ("language", "verifiers", "self_play")  # together they have every kind of stage


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in stage_experiments()
    ],
)
def test_stages(name):
    assert_same(golden("stages", f"{name}.json"), golden_runs.run_stages(name), name)


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies(name, judge):
    recorded = golden("strategies.json")[name][judge]
    assert_same(recorded, golden_runs.run_strategy(name, judge), name, judge)


def test_all_that_is_recorded_is_compared():
    assert set(golden("strategies.json")) == set(STRATEGIES)
    stages = {path.stem for path in (FOLDER / "stages").iterdir()}
    assert stages == set(stage_experiments())
    assert {path.name for path in (FOLDER / "runs").iterdir()} == {*CONFIGS, *saved_experiments()}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(name):
    saved = (FOLDER / "runs" / name / "config.json").read_text()
    assert golden_runs.reads_as(saved, name)


@pytest.fixture(scope="module")
def runs():
    with copied_runs() as folder:
        yield folder


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_on_saved_runs(name, runs):
    assert_same(golden("commands.json")[name], golden_runs.run_command(name, runs), name)


@pytest.mark.parametrize("name", saved_experiments())
def test_saved_runs_are_complete(name, runs):
    """Their last checkpoint is restored, whole, and there is nothing left to train."""
    recorded = golden("commands.json")["trained again"][name]
    assert_same(recorded, golden_runs.train_again(name, str(runs / name)), name)


@pytest.mark.parametrize(
    ("recorded", "found", "same"),
    [
        (1.0, 1.0 + 1e-6, True),
        (1e3, 1e3 + 1e-3, True),
        (1.0, 1.00001, False),
        (1, 2, False),
        (1, 1.0, False),
        ([1, 2], [1], False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ({"a": {"b": [1.0]}}, {"a": {"b": [2.0]}}, False),
    ],
)
def test_differences(recorded, found, same):
    assert (differences(recorded, found) == []) is same
    assert differences({"a": [1, 2]}, {"a": [1, 3]}, ("x",)) == ["x, a, [1]: 3, recorded 2"]

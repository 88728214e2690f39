import pathlib

import jax
import jax.numpy as jnp
import pytest

from rlsearch.config import ProfileConfig
from rlsearch.training.trace import StepTrace


@jax.jit
def step(state, key):
    return jnp.sin(state) + jax.random.uniform(key, state.shape), {"loss": state.sum()}


def take(folder: pathlib.Path, steps: tuple[int, ...], numbers) -> None:
    state = jnp.zeros(3)
    with StepTrace(ProfileConfig(steps), folder) as trace:
        for number in numbers:
            state, metrics = trace.take(number, step, state, jax.random.key(number))
            assert set(metrics) == {"loss"}


def traced(folder: pathlib.Path) -> list[int]:
    """The numbers of the steps in the one trace of a folder."""
    (file,) = folder.rglob("*.xplane.pb")
    events = [
        dict(event.stats)
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes
        for line in plane.lines
        for event in line.events
        if event.name == "train"
    ]
    return sorted(event["step_num"] for event in events)


@pytest.mark.parametrize(
    ("steps", "numbers", "expected"),
    [
        ((2, 3), range(1, 6), [2, 3]),
        ((4, 9), range(1, 6), [4, 5]),  # the stage ends within it
        ((2, 4), range(3, 6), [3, 4]),  # a run that resumes within it
    ],
)
def test_the_steps_that_are_asked_for_are_traced(tmp_path, steps, numbers, expected):
    take(tmp_path, steps, numbers)
    assert traced(tmp_path) == expected


@pytest.mark.parametrize("steps", [(), (8, 9)])
def test_nothing_is_written_without_such_a_step(tmp_path, steps):
    take(tmp_path, steps, range(1, 6))
    assert list(tmp_path.iterdir()) == []


def test_a_trace_is_written_where_a_step_fails(tmp_path):
    def fail(state, key):
        raise FloatingPointError("the loss is nan")

    with pytest.raises(FloatingPointError):
        with StepTrace(ProfileConfig((1, 9)), tmp_path) as trace:
            state, _ = trace.take(1, step, jnp.zeros(3), jax.random.key(1))
            trace.take(2, fail, state, jax.random.key(2))
    assert traced(tmp_path) == [1, 2]

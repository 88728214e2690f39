"""Countdown: nothing held out is ever drawn, and what is held out can be solved."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config_data import ConfigError, from_data
from rlsearch.tasks.base import Task
from rlsearch.tasks.countdown import HELD_OUT_SHARE, Countdown
from rlsearch.tasks.solver import solvable

SIZES = (3, 4, 6)


@functools.cache
def task_of(count: int, **fields) -> Countdown:
    return Countdown(num_numbers=count, largest=25, num_held_out=30, **fields)


def numbers_of(task: Countdown, prompts) -> np.ndarray:
    return np.asarray(prompts)[:, 2:-1] - task.language.first_number


@pytest.mark.parametrize("count", SIZES)
def test_held_out_problems_are_distinct_solvable_and_held_out(count):
    task: Task = task_of(count)
    problems = task_of(count).held_out_problems
    assert len({numbers for numbers, _ in problems}) == len(problems) == 30
    for numbers, goal in problems:
        assert 1 <= goal <= 100 and solvable(numbers, goal, task_of(count).language.words)
        assert list(numbers) == sorted(numbers) and 1 <= numbers[0] and numbers[-1] <= 25
    prompts = task.held_out_prompts()
    held_out = jax.jit(jax.vmap(task_of(count).is_held_out))(numbers_of(task_of(count), prompts))
    assert held_out.all()
    assert [task.tokenizer.encode(text) for text in task.held_out_texts()] == prompts.tolist()
    assert len({goal for _, goal in problems}) > 15


def test_host_and_device_hold_out_the_same_and_a_sixteenth_of_all():
    task = task_of(4)
    numbers = np.sort(np.random.default_rng(0).integers(1, 26, (20_000, 4)), axis=1)
    on_host = task.is_held_out(numbers)
    on_device = jax.jit(task.is_held_out)(jnp.array(numbers, jnp.int32))
    np.testing.assert_array_equal(on_host, on_device)
    assert abs(on_host.mean() - 1 / HELD_OUT_SHARE) < 0.01
    other = task_of(4, split_seed=25).is_held_out(numbers)
    assert abs((on_host & other).mean() - 1 / HELD_OUT_SHARE**2) < 0.003


@pytest.mark.parametrize("count", SIZES)
def test_nothing_held_out_is_drawn(count):
    task = task_of(count)
    keys = jax.random.split(jax.random.key(0), 2048)
    prompts = jax.jit(jax.vmap(task.draw_task_problem))(keys)
    assert not task.is_held_out(numbers_of(task, prompts)).any()
    traces, _, steps, valid = jax.jit(jax.vmap(task.draw_trace))(keys)
    held_out = task.is_held_out(numbers_of(task, traces))
    assert not (np.asarray(valid) & held_out).any() and held_out.mean() > 0.02
    assert np.asarray(valid).mean() > 0.6
    lengths = [task.language.step_length(step) for step in range(count - 1)]
    solutions = np.concatenate(
        [np.asarray(steps)[:, step, :length] for step, length in enumerate(lengths)], axis=1
    )
    right = np.asarray(task.check_tokens(traces, jnp.array(solutions)))
    assert right[np.asarray(valid)].all()
    answers = np.asarray(task.answers(traces, jnp.array(solutions)))
    goals = np.asarray(traces)[:, 0] - task.language.first_number
    np.testing.assert_array_equal(answers[right], goals[right])
    broken = jnp.array(solutions).at[:, -1].set(task.pad)
    assert (np.asarray(task.answers(traces, broken)) == -1).all()


class Unlucky(Countdown):
    """No draw of it succeeds."""

    def draw_trace(self, key):
        return *super().draw_trace(key)[:3], jnp.bool_(False)


def test_where_no_draw_succeeds_there_is_still_a_training_problem():
    task = Unlucky(num_numbers=3, num_held_out=1)
    prompt = jax.jit(task.draw_task_problem)(jax.random.key(0))
    assert not task.is_held_out(numbers_of(task, prompt[None])).any()
    assert task.tokenizer.decode(np.asarray(prompt).tolist()).startswith("1 from 1 ")


def test_a_problem_that_a_user_typed_is_read():
    task = task_of(4)
    assert task.parse_problem("24 from 4, 10 9 13") == "24 from 4 9 10 13\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("4 9 10 13", "give a goal and numbers, such as '24 from 4 9 6 3'"),
        ("x from 4 9 10 13", "give a goal and numbers"),
        ("9999999999 from 4 9 10 13", "give a goal and numbers"),
        ("101 from 4 9 10 13", "its goal is 101: it must be from 1 to 100"),
        ("0 from 4 9 10 13", "its goal is 0"),
        ("24 from 4 9 10 26", "'26' is not in range: give 4 whole numbers from 1 to 25"),
        ("24 from 4 9 10", "it has 3 numbers"),
        ("100 from 1 1 1 1", "no sequence of + - * / makes 100 of it"),
    ],
)
def test_bad_problems_are_refused_in_a_sentence(text, sentence):
    with pytest.raises(ValueError) as caught:
        task_of(4).parse_problem(text)
    assert str(caught.value).startswith(f"problem is {text!r}") and sentence in str(caught.value)


def test_more_problems_than_are_held_out_are_refused_and_all_of_them_are_found():
    with pytest.raises(ValueError, match="num_held_out is 31: it must be at most 30, of 3 numbers"):
        Countdown(num_numbers=3, num_held_out=31)
    assert len(Countdown(num_numbers=3, num_held_out=30).held_out_problems) == 30


def test_the_benchmark_split_is_refused():
    sentence = "task.split = 'tot' is no field: .* valid are num_held_out"
    with pytest.raises(ConfigError, match=sentence):
        from_data(Countdown, {"split": "tot"}, path="task")

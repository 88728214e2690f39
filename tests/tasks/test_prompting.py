"""Problems with worked examples in front, and answers without any steps."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.parallel.mesh import row_keys
from rlsearch.tasks.arithmetic import Arithmetic
from rlsearch.tasks.direct_arithmetic import DirectArithmetic
from rlsearch.tasks.prompting import FewShot
from tests.commands import read_json, succeed
from tests.tiny import tiny_experiment, with_stages, write_config_file
from tests.toy import ImpossibleToyTask, ToyTask

FIELDS: dict[str, Any] = {
    "num_operations": 3,
    "largest": 30,
    "num_held_out": 6,
    "mistake_share": 0.5,
}
SHOTS = 2
NUM_DRAWS = 64


@functools.cache
def inner() -> Arithmetic:
    return Arithmetic(**FIELDS)


@functools.cache
def task():
    return FewShot(SHOTS).prompted(inner())


@functools.cache
def draws(few_shot: bool = True):
    chosen = task() if few_shot else DirectArithmetic(**FIELDS)
    draw = jax.jit(jax.vmap(chosen.draw_trace))
    return [np.asarray(x) for x in draw(row_keys(jax.random.key(1), NUM_DRAWS))]


def split(prompt: np.ndarray) -> list[np.ndarray]:
    """The problems and solutions that a prompt says, as its words without padding in front."""
    newline = task().end_of_step
    start = int(np.argmax(prompt != newline))
    assert (prompt[:start] == newline).all()
    return np.split(prompt[start:], [-inner().prompt_length])


def test_the_examples_are_right_and_none_is_held_out():
    seen = set()
    for prompt in [*draws()[0], *task().held_out_prompts()]:
        shown, problem = split(prompt)
        text = inner().tokenizer.decode(shown.tolist())
        examples = [part + "." for part in text.split(".")[:-1]]
        assert len(set(examples)) == SHOTS
        for example in examples:
            question, solution = example.split("\n", 1)
            assert inner().check(question + "\n", solution), example
            seen.add(question)
        assert len(problem) == inner().prompt_length
    expressions = jnp.array([inner().tokenizer.encode(question) for question in seen])
    assert not jax.vmap(inner()._is_held_out)(expressions).any()
    assert len(seen) > NUM_DRAWS  # a policy sees many examples, which differ


def test_everything_behind_the_examples_is_the_tasks_own():
    prompts, others, steps, valid = draws()
    assert prompts.shape == (NUM_DRAWS, task().prompt_length)
    own = inner().prompt_length
    assert task().prompt_length == SHOTS * (own + inner().solution_length) + own
    # Another prompt has the same examples.
    np.testing.assert_array_equal(prompts[:, :-own], others[:, :-own])
    assert (prompts[:, -own:] != others[:, -own:]).any()
    solutions = jnp.asarray(steps.reshape(NUM_DRAWS, -1))
    for name in ("answers", "label_steps"):
        found = getattr(task(), name)(jnp.asarray(prompts), solutions)
        expected = getattr(inner(), name)(jnp.asarray(prompts[:, -own:]), solutions)
        np.testing.assert_array_equal(found, expected)
    assert valid.any() and task().num_steps == inner().num_steps
    np.testing.assert_array_equal(task().held_out_prompts()[:, -own:], inner().held_out_prompts())
    drawn = task().draw_task_problem(jax.random.key(0))
    assert drawn.shape == (task().prompt_length,)


def test_text_and_tokens_say_the_same():
    encode = task().tokenizer.encode
    for prompt, text in zip(task().held_out_prompts(), task().held_out_texts(), strict=True):
        assert encode(text) == prompt.tolist()
    typed = task().parse_problem("((3 + 4) * 2)")
    tokens = encode(typed)
    assert len(tokens) == task().prompt_length
    np.testing.assert_array_equal(  # the same examples as the held-out problems have
        tokens[: -inner().prompt_length], task().held_out_prompts()[0][: -inner().prompt_length]
    )
    assert task().check(typed, "3 + 4 = 7\n7 * 2 = 14 .")
    assert not task().check(typed, "3 + 4 = 7\n7 * 2 = 15 .") and not task().check(typed, b"\xff")
    with pytest.raises(ValueError, match="give an expression"):
        task().parse_problem("((3 + 4) * )")


def test_a_task_that_cannot_label_steps_still_cannot():
    few_shot = FewShot(1).prompted(ToyTask())  # pyright: ignore
    assert not hasattr(few_shot, "step_labels") and not hasattr(few_shot, "label_steps")
    assert few_shot.prompt_length == 3 + 6 + 3
    with pytest.raises(ValueError, match="num_examples is 1: of 4096 random traces only 0 come"):
        FewShot(1).prompted(ImpossibleToyTask())  # pyright: ignore


def test_a_direct_answer_is_the_number_alone():
    direct = DirectArithmetic(**FIELDS)
    prompts, _, steps, valid = draws(few_shot=False)
    solutions = steps[:, 0]
    allowed = direct.grammar[np.arange(3), solutions]
    assert allowed[valid].all() and steps.shape == (NUM_DRAWS, 1, 3)
    right = np.asarray(direct.check_tokens(jnp.asarray(prompts), jnp.asarray(solutions)))
    assert 0 < right[valid].mean() < 1  # the traces have mistakes
    labels = direct.step_labels(prompts, solutions)
    np.testing.assert_array_equal(labels[:, 0], right)
    for prompt, solution, expected in zip(prompts, solutions, right, strict=True):
        texts = (direct.tokenizer.decode(x.tolist()) for x in (prompt, solution))
        assert direct.check(*texts) == expected
    np.testing.assert_array_equal(direct.held_out_prompts(), inner().held_out_prompts())
    problem = direct.parse_problem("((3 + 4) * 2)")
    assert direct.check(problem, " =  14 . ")
    for wrong in (
        "= 15 .",
        "= 14",
        "14 .",
        "= 14 . .",
        "3 + 4 = 14 .",
        "",
        b"\xff",
        "= 14 ." * 999,
    ):
        assert not direct.check(problem, wrong)
    with pytest.raises(ValueError, match="it has 4 operations: give from 2 to 3"):
        direct.parse_problem("((((1 + 1) + 1) + 1) + 1)")


@pytest.mark.slow
def test_a_run_is_trained_and_measured_with_examples_in_its_prompts(tmp_path):
    shown = dataclasses.replace(tiny_experiment(), prompting=FewShot(2))
    config, run = write_config_file(tmp_path / "tiny.py", shown), tmp_path / "run"
    succeed("train", config, "--run-dir", run)
    asked = ["--problems", 4, "--budgets", 1, "--seeds", 0, "--strategies", "best_of_n", "bfs_v"]
    result = read_json("evaluate", run, *asked)
    # Two examples of 7 and 21 tokens, and a problem.
    assert {row["prompt_tokens"] for row in result["rows"]} == {2 * 28 + 7}
    assert len(result["rows"]) == 3 * 2
    solved = read_json("solve", run, "4 9 10 13", "--budget", 1)
    assert len(solved["problem"].splitlines()) == 2 * 4 + 1 and len(solved["solution"]) == 3


@pytest.mark.slow
def test_a_run_is_trained_and_measured_on_direct_answers(tmp_path):
    task = DirectArithmetic(num_operations=2, num_held_out=3)
    direct = dataclasses.replace(with_stages(tiny_experiment(), "base"), task=task)
    config, run = write_config_file(tmp_path / "tiny.py", direct), tmp_path / "run"
    succeed("train", config, "--run-dir", run)
    asked = ["--budgets", 1, 4, "--seeds", 0, "--strategies", "self_consistency"]
    rows = read_json("evaluate", run, *asked)["rows"]
    assert [row["policy_tokens"] for row in rows] == [3, 12]
    assert len(read_json("solve", run, "((1 + 1) + 1)", "--budget", 1)["solution"]) == 1

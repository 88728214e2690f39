"""Game of 24: the split holds, draws are right, and words about bad problems are clear."""

import functools
import itertools
import os
import pathlib
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config_data import ConfigError, from_data
from rlsearch.tasks.base import Task
from rlsearch.tasks.game24 import Game24, all_puzzles
from rlsearch.tasks.rational import OPERATORS, RationalWords, apply_operator
from rlsearch.tasks.solver import solvable

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get("RLSEARCH_TEST_DATA", ROOT.parent / "shared" / "data"))
SOURCE = DATA / "game24" / "24.csv"
NUM_DRAWS = 4096


@functools.cache
def _task() -> Game24:
    # About a tenth of the draws is of a held-out puzzle here, so that a leak would show.
    return Game24(num_held_out=200)


@functools.cache
def _draws():
    """Prompts, other prompts, solutions as contiguous tokens, and valid, of `NUM_DRAWS` traces."""
    task = _task()
    draw = jax.jit(jax.vmap(task.draw_trace))
    draws = draw(jax.random.split(jax.random.key(1), NUM_DRAWS))
    prompts, others, steps, valid = (np.asarray(x) for x in draws)
    lengths = [task.language.step_length(step) for step in range(task.num_steps)]
    solutions = [steps[:, step, :length] for step, length in enumerate(lengths)]
    padding = [steps[:, step, length:] for step, length in enumerate(lengths)]
    assert all((x == task.pad).all() for x in padding)
    return prompts, others, np.concatenate(solutions, axis=1), valid


def _numbers(prompts: np.ndarray) -> np.ndarray:
    return prompts[:, 2:-1] - _task().language.first_number


def _goals(prompts: np.ndarray) -> np.ndarray:
    return prompts[:, 0] - _task().language.first_number


# ---- The solver --------------------------------------------------------------------------------


def test_1362_of_1820_puzzles_have_a_solution():
    everything = list(itertools.combinations_with_replacement(range(1, 14), 4))
    assert len(everything) == 1820
    assert len(all_puzzles()) == 1362
    assert list(all_puzzles()) == sorted(all_puzzles()) and set(all_puzzles()) <= set(everything)
    # The language lacks no word that a puzzle needs.
    assert all_puzzles(RationalWords()) == all_puzzles()


def _plain_search(left: list[Fraction], goal: Fraction) -> bool:
    """Every operation on every ordered pair, negatives included."""
    if len(left) == 1:
        return left[0] == goal
    for i, j in itertools.permutations(range(len(left)), 2):
        rest = [left[k] for k in range(len(left)) if k not in (i, j)]
        for operator in OPERATORS:
            result = apply_operator(operator, left[i], left[j])
            if result is not None and _plain_search([*rest, result], goal):
                return True
    return False


def test_solver_is_the_plain_search():
    random = np.random.default_rng(0)
    for goal, size in [(0, 3), (1, 3), (24, 3), (7, 2), (5, 1), (24, 4), (0, 4)]:
        for _ in range(8 if size == 4 else 40):
            numbers = tuple(random.integers(1, 14, size).tolist())
            expected = _plain_search([Fraction(number) for number in numbers], Fraction(goal))
            assert solvable(numbers, goal) == expected, (numbers, goal)


def test_known_puzzles():
    assert solvable((8, 3, 8, 3), 24)  # 8 / (3 - 8/3), through fractions only
    assert solvable((7, 3, 7, 3), 24)
    assert not solvable((1, 1, 1, 1), 24)
    assert not solvable((8, 3, 8, 3), 24, RationalWords(max_denominator=2))


# ---- The split ---------------------------------------------------------------------------------


def test_random_split():
    task = Game24(num_held_out=100)
    assert len(task.held_out) == 100 and len(task.training) == 1262
    assert sorted(task.held_out + task.training) == list(all_puzzles())
    assert Game24(num_held_out=100).held_out == task.held_out
    assert Game24(num_held_out=100, split_seed=25).held_out != task.held_out


@pytest.mark.skipif(
    not SOURCE.exists(), reason=f"{SOURCE} is not there: RLSEARCH_TEST_DATA names its data folder"
)
def test_tot_split_is_rows_900_to_999():
    task = Game24(split="tot", data_dir=str(DATA))
    rows = [line.split(",")[1].split() for line in SOURCE.read_text().splitlines()[1:]]
    assert task.held_out == tuple(tuple(sorted(map(int, row))) for row in rows[900:1000])
    assert sorted(task.held_out + task.training) == list(all_puzzles())


def test_tot_split_needs_its_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="24.csv"):
        Game24(split="tot", data_dir=str(tmp_path)).held_out_prompts()


def test_held_out_prompts():
    task = _task()
    texts, prompts = task.held_out_texts(), task.held_out_prompts()
    assert prompts.shape == (200, task.prompt_length) and prompts.dtype == np.int32
    assert [task.tokenizer.decode(prompt.tolist()) for prompt in prompts] == texts
    assert len(set(texts)) == 200 and all(text.startswith("24 from ") for text in texts)


# ---- Draws -------------------------------------------------------------------------------------


def test_task_problems_are_training_puzzles():
    task = _task()
    draw = jax.jit(jax.vmap(task.draw_task_problem))
    prompts = np.asarray(draw(jax.random.split(jax.random.key(0), NUM_DRAWS)))
    assert prompts.dtype == np.int32
    drawn = set(map(tuple, _numbers(prompts).tolist()))
    assert drawn <= set(task.training)
    assert len(drawn) > 0.9 * len(task.training)
    assert (_goals(prompts) == 24).all()
    assert task.tokenizer.decode(prompts[0].tolist()).startswith("24 from ")


def test_traces_never_show_a_held_out_puzzle():
    task = _task()
    prompts, others, _, valid = _draws()
    held_out = set(task.held_out)
    is_held_out = np.array([tuple(row) in held_out for row in _numbers(prompts).tolist()])
    assert is_held_out.any()  # or this would show nothing
    assert not (is_held_out & valid).any()
    assert (_numbers(prompts) == _numbers(others)).all()


def test_traces_solve_the_problem_they_are_shown_with():
    task = _task()
    prompts, _, solutions, valid = _draws()
    right = np.asarray(jax.jit(task.check_tokens)(jnp.asarray(prompts), jnp.asarray(solutions)))
    assert right[valid].all()
    assert valid.mean() > 0.5
    assert task.grammar[np.arange(task.solution_length), solutions[valid]].all()
    for row in np.flatnonzero(valid)[:200]:
        decode = task.tokenizer.decode
        assert task.check(decode(prompts[row].tolist()), decode(solutions[row].tolist()))


def test_goals():
    prompts, others, _, _ = _draws()
    for goals in (_goals(prompts), _goals(others)):
        assert goals.min() >= 1 and goals.max() <= _task().max_goal
    assert 0.45 < (_goals(others) == 24).mean() < 0.6


# ---- The protocol, and what users type ---------------------------------------------------------


def test_is_a_task():
    task: Task = _task()
    assert task.solution_length == len(task.grammar) == 21
    assert (task.num_steps, task.max_step_length, task.prompt_length) == (3, 8, 7)
    assert task.tokenizer.decode([task.end_of_step]) == "\n" and task.pad == 0
    assert task.check("24 from 3 3 8 8\n", "8 / 3 -> 8/3 3 8\n3 - 8/3 -> 1/3 8\n8 / 1/3 -> 24\n")


@pytest.mark.parametrize("text", ["4 9 10 13", "13,9, 10 ,4", "  4\t9 10 13\n"])
def test_parse_problem(text):
    assert _task().parse_problem(text) == "24 from 4 9 10 13\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 1 1", "problem is '1 1 1 1': no sequence of + - * / makes 24 of it"),
        ("4 9 10", "it has 3 numbers: give 4 whole numbers from 1 to 13"),
        ("7", "it has 1 number: give"),
        ("", "problem is '': it has 0 numbers: give"),
        ("1 2 3 4 5", "it has 5 numbers: give"),
        ("4 9 10 14", "'14' is not in range: give 4 whole numbers from 1 to 13"),
        ("0 9 10 13", "'0' is not in range"),
        ("-4 9 10 13", "'-4' is not in range"),
        ("four 9 10 13", "'four' is not"),
        ("4.0 9 10 13", "'4.0' is not"),
        ("４ 9 10 13", "'４' is not"),
        ("9" * 100_000, "is not in range"),
    ],
)
def test_parse_problem_says_what_is_wrong(text, message):
    with pytest.raises(ValueError) as error:
        _task().parse_problem(text)
    assert message in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(("field", "value"), [("num_numbers", 5), ("largest", 25)])
def test_other_numbers_than_the_games_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"task.{field} = {value} is no field: .*valid are split"):
        from_data(Game24, {field: value}, path="task")
    assert (Game24().num_numbers, Game24().largest) == (4, 13)


def test_steps_are_labelled_by_whether_the_goal_can_still_be_reached():
    task = _task()
    problem, right = "24 from 4 9 10 13\n", "13 - 9 -> 4 4 10\n10 - 4 -> 6 4\n6 * 4 -> 24\n"

    def labels(solution: str) -> list[bool]:
        tokens = [np.array([task.tokenizer.encode(text)]) for text in (problem, solution)]
        return task.step_labels(*tokens)[0].tolist()

    assert labels(right) == [True, True, True]
    # 4 * 4 + 10 is one away, and the last line is arithmetic that is wrong.
    assert labels("13 - 9 -> 4 4 10\n4 * 4 -> 16 10\n16 + 10 -> 24\n") == [True, False, False]
    # A wrong line spoils all behind it, even where the goal is reached.
    assert labels("13 - 9 -> 4 4 9\n10 - 4 -> 6 4\n6 * 4 -> 24\n") == [False] * 3
    prompts, _, solutions, valid = _draws()
    rows = np.flatnonzero(valid)[:200]
    assert task.step_labels(prompts[rows], solutions[rows]).all()
    shifted = task.step_labels(np.roll(prompts[rows], 1, axis=0), solutions[rows])
    assert shifted.mean() < 0.1


def test_an_answer_is_what_the_last_line_leaves():
    prompts, _, solutions, valid = _draws()
    answers = np.asarray(_task().answers(jnp.array(prompts), jnp.array(solutions)))
    np.testing.assert_array_equal(answers[valid], _goals(prompts)[valid])

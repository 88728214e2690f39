"""Arithmetic: what is drawn can be worked out, and text and tokens are judged alike."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config_data import ConfigError, from_data
from rlsearch.parallel.mesh import row_keys
from rlsearch.tasks.arithmetic import LINE, Arithmetic
from rlsearch.tasks.base import Task

MOST = 5
LARGEST = 99
NUM_DRAWS = 1024


@functools.cache
def task() -> Arithmetic:
    return Arithmetic(num_operations=MOST, largest=LARGEST, num_held_out=40)


@functools.cache
def draws():
    """Prompts, other prompts, lines, solutions and valid, of `NUM_DRAWS` traces."""
    draw = jax.jit(jax.vmap(task().draw_trace))
    prompts, others, lines, valid = (
        np.asarray(x) for x in draw(row_keys(jax.random.key(0), NUM_DRAWS))
    )
    # Padding stands behind the last line only, so that lines are a solution as they are.
    return prompts, others, lines, lines.reshape(NUM_DRAWS, -1), valid


def text(tokens) -> str:
    return task().tokenizer.decode([int(token) for token in tokens])


def value_of(expression: str) -> int:
    words = [word for word in expression.split() if word != "_"]
    assert set("".join(words)) <= set("0123456789()+-*")
    return eval(" ".join(words))  # of what this very test has drawn


def words_of(lines: str) -> list[list[str]]:
    return [line.split(" ") for line in lines.split("\n")]


def test_lines_are_right_and_end_on_the_value():
    prompts, _, _, solutions, _ = draws()
    counts = np.zeros(MOST + 1, int)
    for prompt, solution in zip(prompts, solutions, strict=True):
        expression, lines = text(prompt), words_of(text(solution))
        counts[len(lines)] += 1
        assert len(lines) == expression.count("(")
        for number, line in enumerate(lines):
            assert value_of(" ".join(line[:3])) == int(line[4]) and 0 <= int(line[4]) <= LARGEST
            assert line[5:] == (["."] if number == len(lines) - 1 else [])
        assert int(lines[-1][4]) == value_of(expression)
    assert (counts[2:] > NUM_DRAWS / MOST / 2).all() and counts[:2].sum() == 0


def test_the_first_innermost_operation_comes_first():
    problem = task().parse_problem("((3+4)*(9-7))")
    expression = jnp.array(task().tokenizer.encode(problem)[:-1])
    lines, value = jax.jit(task()._work_out)(expression)
    said = text(np.asarray(lines).reshape(-1))
    assert said == "3 + 4 = 7\n9 - 7 = 2\n7 * 2 = 14 ." and value == 14
    assert problem.startswith("_ _ ") and problem.endswith("( ( 3 + 4 ) * ( 9 - 7 ) )\n")


def test_all_operations_are_drawn_and_no_number_is_likely_the_answer():
    prompts, _, _, solutions, _ = draws()
    answers = np.asarray(task().answers(jnp.array(prompts), jnp.array(solutions)))
    assert answers.min() >= 0 and np.bincount(answers).max() < NUM_DRAWS / 30
    said = " ".join(text(prompt) for prompt in prompts)
    for operator in "+-*":
        assert said.count(operator) > 0.15 * said.count("(")


def mutated(random, solutions) -> np.ndarray:
    """Solutions with some tokens changed, cut off, or moved."""
    changed = solutions.copy()
    rows = np.arange(len(changed))
    for _ in range(2):
        places = random.integers(0, changed.shape[1], len(changed))
        changed[rows, places] = random.integers(0, task().vocab_size, len(changed))
    cut = random.integers(0, 4, len(changed)) == 0
    changed[cut, random.integers(1, changed.shape[1])] = task().pad
    return changed


def test_text_and_tokens_are_judged_alike():
    prompts, others, _, solutions, _ = draws()
    random = np.random.default_rng(0)
    check, seen = jax.jit(task().check_tokens), {True: 0, False: 0}
    for given, solution in (
        (prompts, solutions),
        (others, solutions),
        (prompts, mutated(random, solutions)),
        (prompts, np.where(solutions > 14, solutions - 1, solutions)),
    ):
        on_device = np.asarray(check(jnp.array(given), jnp.array(solution)))
        for row in range(0, NUM_DRAWS, 2):
            if (solution[row][np.argmax(solution[row] == task().pad) :] != task().pad).any():
                if (solution[row] == task().pad).any():
                    assert not on_device[row]  # padding inside a solution cannot be said in text
                    continue
            said = text(solution[row])
            assert task().check(text(given[row]), said) == on_device[row], (text(given[row]), said)
            assert task().check(text(given[row]), said.encode()) == on_device[row]
            seen[bool(on_device[row])] += 1
    assert min(seen.values()) > 100


@pytest.mark.parametrize(
    "solution",
    [
        b"\xff",
        "",
        " ",
        "\n",
        ".",
        "14 .",
        "3 + 4 = 7\n9 - 7 = 2\n7 * 2 = 14",
        "3 + 4 = 7\n9 - 7 = 2\n7 * 2 = 14 . .",
        "3 + 4 = 7\n9 - 7 = 2\n7 * 2 = 014 .",
        "3 + 4 = 7\n9 - 7 = 2\n7 * 2 = \u0661\u0664 .",
        "3 + 4 = 7 .\n9 - 7 = 2\n7 * 2 = 14 .",
        "3 + 4 = 7\n9 - 7 = 2\n7 ** 2 = 14 .",
        "3 + 4 = 7\n" * 100_000 + "7 * 2 = 14 .",
        "__import__('os').system('false') + 1 = 14 .",
    ],
)
def test_hostile_text_is_wrong_and_no_more(solution):
    problem = task().parse_problem("((3+4)*(9-7))")
    assert not task().check(problem, solution)
    assert task().check(problem, "3 + 4 = 7\n9 - 7 = 2\n7 * 2 = 14 .")


def test_the_answer_counts_and_not_the_way_there():
    problem = task().parse_problem("((3+4)*(9-7))")
    prompt = jnp.array([task().tokenizer.encode(problem)])
    # Two wrongs make a right: an outcome that only the labels of the steps see through.
    wrong = "3 + 4 = 6\n9 - 7 = 3\n7 * 2 = 14 ."
    tokens = task().tokenizer.encode(wrong)
    solution = jnp.array([tokens + [task().pad] * (task().solution_length - len(tokens))])
    assert task().check(problem, wrong) and task().check_tokens(prompt, solution).all()
    assert not task().step_labels(prompt, solution).any()


def test_labels_are_right_up_to_the_first_wrong_line():
    prompts, _, lines, solutions, _ = draws()
    label = task().step_labels
    present = lines[:, :, 0] != task().pad
    np.testing.assert_array_equal(label(prompts, solutions), present)
    broken = lines.copy()
    at = np.random.default_rng(0).integers(0, 2, NUM_DRAWS)
    rows = np.arange(NUM_DRAWS)
    broken[rows, at, 4] = np.where(broken[rows, at, 4] > 20, 15, 30)
    expected = present & (np.arange(MOST) < at[:, None])
    np.testing.assert_array_equal(label(prompts, broken.reshape(NUM_DRAWS, -1)), expected)


def test_held_out_problems_are_distinct_never_drawn_and_of_every_length():
    bound: Task = task()
    held_out = bound.held_out_prompts()
    assert held_out.shape == (40, bound.prompt_length)
    assert len(np.unique(held_out, axis=0)) == 40
    operations = (held_out == task().tokenizer.index["("]).sum(axis=1)
    assert operations.tolist() == [2 + number % (MOST - 1) for number in range(40)]
    texts = bound.held_out_texts()
    assert [bound.tokenizer.encode(problem) for problem in texts] == held_out.tolist()
    is_held_out = jax.jit(jax.vmap(task()._is_held_out))
    assert np.asarray(is_held_out(held_out[:, :-1])).all()
    prompts, *_, valid = draws()
    np.testing.assert_array_equal(valid, ~np.asarray(is_held_out(prompts[:, :-1])))
    assert 0.02 < 1 - valid.mean() < 0.12
    drawn = jax.jit(jax.vmap(task().draw_task_problem))(row_keys(jax.random.key(1), 512))
    assert not np.asarray(is_held_out(drawn[:, :-1])).any()


def test_the_other_prompt_has_one_number_changed():
    prompts, others, *_ = draws()
    changed = (prompts != others).sum(axis=1)
    assert set(changed) <= {0, 1} and changed.mean() > 0.85
    is_held_out = jax.jit(jax.vmap(task()._is_held_out))
    assert not np.asarray(is_held_out(others[changed == 1][:, :-1])).any()
    first_number = task().tokenizer.index["0"]
    rows, places = np.nonzero(prompts != others)
    assert (prompts[rows, places] >= first_number).all()
    assert (others[rows, places] >= first_number).all()


def test_mistakes_are_made_in_traces_alone_and_at_their_rates():
    wrong = dataclasses.replace(task(), mistake_share=0.4)
    draw = jax.jit(jax.vmap(wrong.draw_trace))
    prompts, _, lines, valid = (
        np.asarray(x) for x in draw(row_keys(jax.random.key(0), 4 * NUM_DRAWS))
    )
    prompts, lines = prompts[valid], lines[valid]
    rates, by = wrong._mistakes
    assert (rates > 0).sum() == 12 and 0 < rates.max() < 1 and (by != 0).all()
    made = {kind: [] for kind in np.ndindex(rates.shape)}
    for line in lines[lines[:, :, 0] != wrong.pad]:
        x, y, z = (int(token) - wrong.tokenizer.index["0"] for token in line[[0, 2, 4]])
        kind = int(line[1]) - wrong.tokenizer.index["+"]
        right = (x + y, x - y, x * y)[kind]
        assert z in (right, right + by[kind, y % 10])
        if 0 <= right + by[kind, y % 10] <= LARGEST:
            made[kind, y % 10].append(z != right)
    for kind, seen in made.items():
        spread = 4 * np.sqrt(0.25 / max(len(seen), 1))
        assert not seen or abs(np.mean(seen) - rates[kind]) <= (spread if rates[kind] else 0)
    # What is true does not depend on them.
    labels = wrong.step_labels(prompts, lines.reshape(len(lines), -1))
    np.testing.assert_array_equal(
        labels, task().step_labels(prompts, lines.reshape(len(lines), -1))
    )
    present = lines[:, :, 0] != wrong.pad
    assert 0.5 < labels[present].mean() < 0.95
    assert [p.tolist() for p in wrong.held_out_prompts()] == task().held_out_prompts().tolist()


def test_solutions_obey_the_grammar_and_the_contract():
    _, _, lines, solutions, _ = draws()
    present = solutions != task().pad
    allowed = task().grammar[np.arange(solutions.shape[1]), solutions]
    assert allowed[present].all() and task().grammar.shape[0] == LINE * MOST
    results = lines[:, :, 4][lines[:, :, 0] != task().pad]
    assert (results >= task().tokenizer.index["0"]).all()
    assert np.nonzero(task().consequences)[1].tolist() == [4] * MOST


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("3 + 4", "it has 1 operations: give from 2 to 5"),
        ("(1+(1+(1+(1+(1+(1+1))))))", "it has 6 operations"),
        ("((3+4)*2", "brackets around every operation"),
        ("((3+4)*99)", "all numbers on the way from 0 to 99"),
        ("((3-4)*2)", "all numbers on the way from 0 to 99"),
        ("((3+x)*2)", "brackets around every operation"),
        ("(3+4*2)", "brackets around every operation"),
        ("((3+4)*100)", "all numbers on the way"),
    ],
)
def test_bad_problems_are_refused_in_a_sentence(problem, sentence):
    with pytest.raises(ValueError) as caught:
        task().parse_problem(problem)
    assert str(caught.value).startswith(f"problem is {problem!r}") and sentence in str(caught.value)


def test_the_benchmark_split_is_refused():
    sentence = "task.split = 'tot' is no field: .* valid are num_held_out"
    with pytest.raises(ConfigError, match=sentence):
        from_data(Arithmetic, {"split": "tot"}, path="task")

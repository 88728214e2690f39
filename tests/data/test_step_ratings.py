"""Files of rated solutions: what they say by their own conventions, and what is refused."""

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.data import step_ratings
from rlsearch.data.left_out import LeftOut
from rlsearch.data.step_ratings import FORMS, MAX_LINE, read_ratings
from rlsearch.tasks.arithmetic import Arithmetic
from rlsearch.tasks.countdown import Countdown
from rlsearch.verifiers.rated import rated_labels

PROBLEM = "( ( 3 + 4 ) * ( 9 - 7 ) )"


def completion(text, rating):
    return {"text": text, "rating": rating, "flagged": None}


def prm800k(steps, **changes):
    line = {
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": PROBLEM},
        "label": {"steps": steps, "finish_reason": "found_error"},
    }
    return json.dumps({**line, **changes})


def step(*completions, chosen=0, human=None):
    rated = [completion(*one) for one in completions]
    return {"completions": rated, "chosen_completion": chosen, "human_completion": human}


def read(tmp_path, form, *lines, left_out=None):
    path = tmp_path / "ratings.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return list(read_ratings(path, form, left_out))


def test_prm800k_is_read_up_to_the_first_wrong_step_and_neutral_is_right(tmp_path):
    steps = [step(("a", 1)), step(("b", 0), ("c", -1)), step(("d", -1)), step(("e", 1))]
    found = read(tmp_path, "prm800k", prm800k(steps))
    assert [(one.steps, one.ratings) for one in found] == [
        (("a", "c"), (None, 0.0)),  # a completion that was not chosen, under those that were
        (("a", "b", "d"), (1.0, 1.0, 0.0)),
    ]
    assert found[0].problem == PROBLEM


def test_prm800k_steps_of_people_are_not_rated_and_the_last_may_be_open(tmp_path):
    steps = [
        step(("a", -1), chosen=None, human={"text": "h"}),
        step(("b", 1)),
        step(("c", 1), ("d", -1), chosen=None),
    ]
    found = read(tmp_path, "prm800k", prm800k(steps))
    assert [(one.steps, one.ratings) for one in found] == [
        (("a",), (0.0,)),
        (("h", "b", "c"), (None, None, 1.0)),
        (("h", "b", "d"), (None, None, 0.0)),
        (("h", "b"), (None, 1.0)),
    ]


def test_prm800k_questions_about_the_labellers_are_left_out(tmp_path):
    for key in ("is_quality_control_question", "is_initial_screening_question"):
        assert read(tmp_path, "prm800k", prm800k([step(("a", 1))], **{key: True})) == []


def math_shepherd(text, signs):
    signs = iter(signs)
    label = "".join(next(signs) if part == "\u043a\u0438" else part for part in text)
    return json.dumps({"input": "".join(text), "label": label, "task": "GSM8K"})


STEP = "\u043a\u0438"


def test_math_shepherd_has_a_sign_behind_each_step(tmp_path):
    text = [f"{PROBLEM} Step 1: 3 + 4 = 7 ", STEP, "\nStep 2: 9 - 7 = 3 ", STEP]
    (found,) = read(tmp_path, "math_shepherd", math_shepherd(text, "+-"))
    assert found.problem == PROBLEM
    assert found.steps == ("3 + 4 = 7", "9 - 7 = 3") and found.ratings == (1.0, 0.0)


ODD = [
    ("prm800k", "{"),
    ("prm800k", "[]"),
    ("prm800k", "{}"),
    ("prm800k", "\udcff"),
    ("prm800k", prm800k([step(("a", 2))])),
    ("prm800k", prm800k([step(("a", 1), chosen=3)])),
    ("prm800k", prm800k([step((7, 1))])),
    ("prm800k", "[" * 5000 + "]" * 5000),
    ("math_shepherd", "7"),
    ("math_shepherd", json.dumps({"input": "a", "label": "a"})),
    ("math_shepherd", json.dumps({"input": f"Step 1: a {STEP}", "label": "Step 1: a ?"})),
    ("math_shepherd", json.dumps({"input": f"Step 1: a {STEP}", "label": "Step 1: b +"})),
    ("math_shepherd", json.dumps({"input": f"a {STEP}", "label": "a +"})),
]


def good_line(form):
    if form == "prm800k":
        return prm800k([step(("a", 1))])
    return math_shepherd([f"{PROBLEM} Step 1: a ", STEP], "+")


@pytest.mark.parametrize(("form", "line"), ODD)
def test_a_file_of_a_line_of_another_form_is_refused_by_its_number(tmp_path, form, line):
    with pytest.raises(
        ValueError, match=f"line 1: it is not of the form {form}.*none of its lines"
    ):
        read(tmp_path, form, line)


@pytest.mark.parametrize("form", FORMS)
def test_lines_of_another_form_cost_the_others_nothing(tmp_path, form, capsys):
    odd = [*(line for of, line in ODD if of == form), '"' + "a" * MAX_LINE + '"']
    good, path = good_line(form), str(tmp_path / "ratings.jsonl")
    left_out = LeftOut(path, "good")
    found = read(tmp_path, form, good, *odd, "", good, left_out=left_out)
    assert [(one.problem, one.steps, one.ratings) for one in found] == [
        (PROBLEM, ("a",), (1.0,))
    ] * 2
    told = capsys.readouterr().err
    assert left_out.count == len(odd) and told.count("\n") == 1
    assert f"{len(odd)} lines were left out (line 2: it is not of the form {form}" in told
    assert f"; {len(odd) - 3} more); 2 were read" in told
    read(tmp_path, form, good)
    assert capsys.readouterr().err == ""


def test_real_rows_of_math_shepherd_are_read(tmp_path):
    rows = {
        "lower case": ([f"{PROBLEM} step 1: a ", STEP, "\nstep 2: b ", STEP], "+-"),
        "capitals": ([f"{PROBLEM} STEP 1 : a ", STEP, "\nStep  2: b ", STEP], "+-"),
        "no number behind the first": ([f"{PROBLEM} Step 1: a ", STEP, "\nb ", STEP], "+-"),
        "text behind the last sign": ([f"{PROBLEM} Step 1: a ", STEP, "\nb ", STEP, " c"], "+-"),
    }
    lines = [math_shepherd(*row) for row in rows.values()]
    for found in read(tmp_path, "math_shepherd", *lines, "\ufeff" + lines[0]):
        assert found == (PROBLEM, ("a", "b"), (1.0, 0.0))
    colon = math_shepherd([f"{PROBLEM} Step 1: a ", STEP, "\nthe ratio is 3:4 ", STEP], "++")
    (found,) = read(tmp_path, "math_shepherd", colon)
    assert found.steps == ("a", "the ratio is 3:4")


@pytest.mark.parametrize("kept", [STEP, "+", "-", ""])
def test_a_sign_inside_the_problem_is_a_part_of_it(tmp_path, kept):
    line = json.dumps(
        {
            "input": f"the word {STEP} and 3 + 4 Step 1: a {STEP}",
            "label": f"the word {kept} and 3 + 4 Step 1: a -",
        }
    )
    (found,) = read(tmp_path, "math_shepherd", line)
    assert found == (f"the word {STEP} and 3 + 4", ("a",), (0.0,))


def test_a_file_of_nothing_but_questions_about_the_labellers_is_no_odd_file(tmp_path, capsys):
    line = prm800k([step(("a", 1))], is_quality_control_question=True)
    assert read(tmp_path, "prm800k", line) == [] and capsys.readouterr().err == ""


def test_what_is_too_long_or_of_no_form_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"line 1: it has over {MAX_LINE} bytes"):
        read(tmp_path, "prm800k", '"' + "a" * MAX_LINE + '"')
    with pytest.raises(ValueError, match="form is 'gsm8k': it must be prm800k or math_shepherd"):
        read(tmp_path, "gsm8k", "{}")


def test_what_is_no_file_of_a_bounded_size_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "pipe", "is a pipe"),
        ("/dev/zero", "device"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(ValueError, match=said):
            list(read_ratings(path, "prm800k"))
    with pytest.raises(FileNotFoundError, match="there is no .*none.jsonl"):
        list(read_ratings(tmp_path / "none.jsonl", "prm800k"))
    monkeypatch.setattr(step_ratings, "MAX_FILE", 10)
    with pytest.raises(
        ValueError, match="too large for step ratings: it must have at most 10 bytes"
    ):
        read(tmp_path, "prm800k", good_line("prm800k"))


def test_ratings_become_labels_as_far_as_the_task_has_words(tmp_path):
    task = Arithmetic(num_operations=3, largest=99, num_held_out=3)
    good = ["3 + 4 = 7", "9 - 7 = 2", "7 * 2 = 14 ."]
    lines = [
        prm800k([step((text, rating)) for text, rating in zip(good, (1, 0, 1), strict=True)]),
        prm800k([step((good[0], 1)), step(("9 - 7 = 3", -1))]),
        prm800k([step(("first, I add", 1))]),  # no words of the language
        prm800k([step((good[0], 1))], question={"problem": "3 + 4"}),  # no problem of it
        prm800k([step((good[0], 1))] * 4),  # too many steps
    ]
    labels, dropped = rated_labels(task, read(tmp_path, "prm800k", *lines))
    assert dropped == 3 and len(labels.prompts) == 2
    np.testing.assert_array_equal(labels.values, [[1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(labels.weights, [[1, 1, 1], [1, 1, 0]])
    prompts, solutions = jnp.asarray(labels.prompts), jnp.asarray(labels.solutions)
    assert np.asarray(task.check_tokens(prompts, solutions)).tolist() == [True, False]
    exact = task.step_labels(labels.prompts, labels.solutions)
    np.testing.assert_array_equal(exact, labels.values.astype(bool))


def test_held_out_problems_are_never_labelled(tmp_path):
    task = Arithmetic(num_operations=3, largest=99, num_held_out=3)
    problem = task.held_out_texts()[0].replace("_", "").strip()
    line = prm800k([step(("3 + 4 = 7", 1))], question={"problem": problem})
    labels, dropped = rated_labels(task, read(tmp_path, "prm800k", line))
    assert dropped == 1 and len(labels.prompts) == 0


def test_the_numbers_of_a_held_out_puzzle_are_never_labelled_in_any_order(tmp_path):
    task = Countdown(num_numbers=3, num_held_out=4)
    (numbers, _), *_ = task.held_out_problems
    turned = f"{sum(numbers)} from {' '.join(map(str, numbers[::-1]))}"
    other = next(
        (a, b, 1)
        for a in range(1, 9)
        for b in range(1, 9)
        if not task.is_held_out(np.sort(np.array([a, b, 1])))
    )
    free = f"{sum(other)} from {' '.join(map(str, other))}"
    prompts = [task.tokenizer.encode(task.parse_problem(text)) for text in (turned, free)]
    assert prompts[0] not in task.held_out_prompts().tolist()
    assert task.holds_out(np.array(prompts)).tolist() == [True, False]
    line = prm800k([step((f"{numbers[0]} + 1 = 2", 1))], question={"problem": turned})
    labels, dropped = rated_labels(task, read(tmp_path, "prm800k", line))
    assert dropped == 1 and len(labels.prompts) == 0

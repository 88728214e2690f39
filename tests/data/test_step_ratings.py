"""Files of rated solutions: what they say by their own conventions, and what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.data.step_ratings import MAX_LINE, read_ratings
from rlsearch.tasks.arithmetic import Arithmetic
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


def read(tmp_path, form, *lines):
    path = tmp_path / "ratings.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return list(read_ratings(path, form))


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


@pytest.mark.parametrize(
    ("form", "line"),
    [
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
    ],
)
def test_a_line_of_another_form_is_left_out_by_its_number(tmp_path, capsys, form, line):
    good = prm800k([step(("a", 1))])
    if form == "math_shepherd":
        good = math_shepherd([f"{PROBLEM} Step 1: a ", STEP], "+")
    with pytest.raises(ValueError, match=f"line 1: it is not of the form {form}"):
        read(tmp_path, form, line)
    assert len(read(tmp_path, form, good, line, good)) == 2
    said = capsys.readouterr().err
    assert "1 line was left out (line 2: it is not of the form" in said and said.count("\n") == 1


def test_what_is_too_long_or_of_no_form_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"line 1: it has over {MAX_LINE} bytes"):
        read(tmp_path, "prm800k", '"' + "a" * MAX_LINE + '"')
    with pytest.raises(ValueError, match="form is 'gsm8k': it must be prm800k or math_shepherd"):
        read(tmp_path, "gsm8k", "{}")


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

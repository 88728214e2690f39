"""Problems in words, from files and generators."""

import json
from pathlib import Path

import pytest

from rlsearch.tasks.questions import GSM8K, Generated, Questions

SHARED = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"


def folder(path, *lines, split="test"):
    (path / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def line(question="1 + 1?", answer="two, so #### 2", **more):
    return json.dumps({"question": question, "answer": answer, **more})


def test_problems_of_a_file(tmp_path):
    task = Questions(folder(tmp_path, line(), line("2 + 3?", "5", other=1)))
    one, two = task.problems("test")
    assert (one.text, one.reference, one.number) == ("1 + 1?", "2", 0)
    assert task.check(one, "It is 2.0") and not task.check(one, "It is 22")
    assert task.check(two, "The answer is 5 apples") and not task.check(two, "")
    assert task.answer("so 1,000") == task.answer("#### 1000") == "1000"
    own = Questions(folder(tmp_path, '{"q": "x", "a": "7"}'), question="q", answer_field="a")
    assert own.problems("test")[0].reference == "7"


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        '{"question": "x"}',
        '{"question": 3, "answer": "4"}',
        '{"question": " ", "answer": "4"}',
        '{"question": "x", "answer": "none"}',
        '{"question": "x", "answer": ["4"]}',
        '{"question": "' + "x" * 2**20 + '", "answer": "4"}',
        "[" * 5000,
    ],
    ids=range(9),
)
def test_a_line_that_is_no_problem_is_named(tmp_path, bad):
    task = Questions(folder(tmp_path, line(), bad))
    with pytest.raises(ValueError, match="test.jsonl, line 2: it must have a text 'question'"):
        task.problems("test")


def test_files_that_are_missing():
    with pytest.raises(ValueError, match="data_dir is ''"):
        GSM8K().problems("test")
    with pytest.raises(FileNotFoundError):
        GSM8K("/nowhere").problems("test")
    with pytest.raises(ValueError, match="split is 'dev'"):
        GSM8K("/nowhere").problems("dev")


def test_grade_school_mathematics():
    if not SHARED.exists():
        pytest.skip("the files of GSM8K are not here")
    task = GSM8K(str(SHARED))
    test, train = task.problems("test"), task.problems("train")
    assert (len(test), len(train)) == (1319, 7473)
    assert test[0].reference == "18" and not {x.text for x in test} & {x.text for x in train}


def test_generated_problems():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    task = Generated("chain_sum", size=20, num_held_out=20)
    test, train = task.problems("test"), task.problems("train")
    assert len(test) == 20 and not {x.text for x in test} & {x.text for x in train}
    assert test == Generated("chain_sum", num_held_out=20).problems("test")
    assert task.check(test[0], f"The answer is {test[0].reference}")
    with pytest.raises(ValueError, match="generator is 'nothing'"):
        Generated("nothing").problems("test")
    with pytest.raises(ValueError, match="one whose answers are numbers"):
        Generated("word_sorting", num_held_out=2).problems("test")


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(RuntimeError, match=r"rlsearch\[reasoning\]"):
        Generated().problems("test")


def test_a_generator_has_options_and_so_many_problems_are_held_out():
    pytest.importorskip("reasoning_gym")
    options = ("min_terms=2", "max_terms=2", "min_digits=1", "max_digits=1")
    task = Generated("products", options, size=300, num_held_out=20)
    held_out, training = task.problems("test"), task.problems("train")
    assert len(held_out) == 20 and 0 < len(training) < 300
    assert not {problem.text for problem in held_out} & {problem.text for problem in training}
    assert all(len(problem.reference) <= 2 for problem in held_out + training)
    with pytest.raises(
        ValueError, match="options are 'max_legs=3': they must be those of products"
    ):
        Generated("products", ("max_legs=3",)).problems("test")
    with pytest.raises(ValueError, match="options are 'min_terms=9 max_terms=2'"):
        Generated("products", ("min_terms=9", "max_terms=2")).problems("test")


@pytest.mark.parametrize(
    "option", ["max_terms", "max_terms=x", "max_terms=__import__", "=3", "a b=3"]
)
def test_an_option_is_a_name_and_a_whole_number(option):
    with pytest.raises(ValueError, match="Generated.options is .*: it must be a list such as"):
        Generated("products", (option,))

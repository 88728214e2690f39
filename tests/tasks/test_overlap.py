"""Held-out problems that stand among training problems."""

import json

import pytest

from rlsearch.tasks.overlap import ngrams, overlap
from rlsearch.tasks.questions import Problem
from tests.commands import call, fail, read_json


def problems(*texts):
    return [Problem(text, "1", number) for number, text in enumerate(texts)]


def test_ngrams_are_words_in_a_row_whatever_stands_between_them():
    assert ngrams("One, two; THREE!", 2) == {("one", "two"), ("two", "three")}
    assert ngrams("one two", 3) == {("one", "two")}
    assert ngrams("?! ...", 3) == set()


def test_shares_are_of_each_held_out_problem():
    training = problems("a cat sat on a mat", "two and two make four")
    held_out = problems("A cat sat on a hat", "nothing of this is known", "Two and two make four.")
    found = overlap(held_out, training, 3)
    assert (found["held_out"], found["training"]) == (3, 2)
    assert (found["any"], found["half"], found["all"]) == (2, 2, 1)
    assert [x["number"] for x in found["most"]] == [2, 0]
    assert [x["share"] for x in found["most"]] == [1.0, pytest.approx(3 / 4)]
    assert found["mean_share"] == pytest.approx((1 + 3 / 4) / 3)


def test_there_may_be_no_training_problem():
    found = overlap(problems("one two three"), [], 2)
    assert (found["any"], found["mean_share"], found["most"]) == (0, 0.0, [])


def test_the_command(tmp_path):
    for split, first in (("test", "2"), ("train", "3")):
        line = json.dumps({"question": f"What is {first} plus 2 of these?", "answer": "4"})
        (tmp_path / f"{split}.jsonl").write_text(f"{line}\n" * 2)
    given = ("data", "overlap", "questions", "--data-dir", tmp_path)
    assert read_json(*given, "--words", 4)["any"] == 2
    code, out, _ = call(*map(str, given))
    assert code == 0 and "2 held-out problems, 2 training problems" in out
    assert "there is no" in fail("data", "overlap", "questions", "--data-dir", tmp_path / "none")

"""An open model on problems in words: a small one of random weights, and texts by hand."""

import json

import jax
import numpy as np
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.measuring.open_accuracy import Asking, Judged, measure_open
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.opened import open_model
from rlsearch.tasks.questions import Problem, Questions
from tests.commands import call, read_json, succeed
from tests.pretrained.folders import CONTEXT, open_folder

SHORT = ("--samples", 4, "--max-tokens", 8, "--slots", 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return open_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    lines = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(5)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


def judged(*answers, reference="7"):
    right = tuple(answer == reference for answer in answers)
    blank = (0,) * len(answers)
    return Judged(Problem("x", reference, 0), answers, answers, right, blank, (False,) * len(right))


def test_votes_are_of_those_that_answer():
    assert judged("7", "8", "8").voted(1) and not judged("7", "8", "8").voted(3)
    assert judged("", "", "7").voted(3) and not judged("", "").voted(2)
    assert judged("8", "7", "7", "8", "7").voted(5)
    assert not judged("8", "7").voted(2)  # of equals the first


def test_a_table_counts_what_is_right(folder, data, monkeypatch):
    """Every other text is right, whatever the model writes."""
    opened = open_model(folder, make_mesh(ParallelConfig(data=1), jax.devices()[:1]))
    calls = iter(range(10**6))
    monkeypatch.setattr(Questions, "check", lambda *_: next(calls) % 2 == 0)
    monkeypatch.setattr(Questions, "answer", lambda *_: "a")
    task, heard = Questions(str(data)), []
    asking = Asking(samples=4, max_tokens=6, slots=3)
    problems = task.problems("test")[:4]
    table, texts = measure_open(opened, task, problems, asking, lambda *said: heard.append(said))
    rows = {(row["strategy"], row["budget"]): row for row in table["rows"]}
    assert rows["greedy", 1]["accuracy"] == 0.5
    assert rows["sample", 1]["accuracy"] == 0.5
    assert rows["pass", 2]["accuracy"] == pytest.approx(5 / 6) and rows["pass", 4]["accuracy"] == 1
    assert rows["majority", 4]["accuracy"] == 1.0  # all answer alike, and the first is right
    assert heard[-1][1] == 1.0 and len(texts) == 4 and len(texts[0].texts) == 4
    assert rows["sample", 1]["tokens_per_text"] <= 6
    assert "What is 0 + 1?" in table["prompt"] and asking.instruction in table["prompt"]


def test_samples_do_not_depend_on_slots_or_on_other_problems(folder, data):
    opened = open_model(folder, make_mesh(ParallelConfig(data=1), jax.devices()[:1]))
    task = Questions(str(data))
    problems = task.problems("test")

    def texts(number, slots):
        asking = Asking(samples=3, max_tokens=8, slots=slots)
        return [x.texts for x in measure_open(opened, task, problems[:number], asking)[1]]

    whole = texts(5, 4)
    assert texts(5, 15) == whole and texts(2, 1) == whole[:2]
    assert len({text for each in whole for text in each}) > 10


def test_the_command(folder, data, tmp_path):
    argv = ("evaluate", folder, "--task", "questions", "--data-dir", data, *SHORT)
    found = read_json(*argv, "--problems", 3, "--out", tmp_path)
    saved = json.loads((tmp_path / "questions.json").read_text())
    assert saved["rows"] == found["rows"] and found["problems"] == 3
    lines = (tmp_path / "questions_texts.jsonl").read_text().splitlines()
    assert len(lines) == 3 and len(json.loads(lines[0])["texts"]) == 4
    shown = succeed(*argv, "--out", tmp_path, "--seeds", 1, "--samples", 0)
    assert shown.count("greedy") >= 1 and "asked as" in shown
    assert np.isfinite([row["accuracy"] for row in found["rows"]]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "an open model needs --task"),
        (("--task", "questions"), "data_dir is ''"),
        (("--task", "gsm8k", "--suite", "verifiers"), "--suite is for runs"),
        (("--task", "questions", "--data-dir", "DATA", "--seeds", 1, 2), "--seeds takes one"),
        (
            ("--task", "questions", "--data-dir", "DATA", "--max-tokens", CONTEXT),
            f"together they must be at most {CONTEXT}",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(folder, data, tmp_path, options, said):
    options = [data if word == "DATA" else word for word in options]
    code, out, err = call("evaluate", folder, *options, "--out", tmp_path)
    assert code == 2 and out == "" and said in err and err.count("error: ") == 1, err
    assert not list(tmp_path.iterdir())


def test_options_of_open_models_are_not_for_runs(tmp_path):
    code, _, err = call("evaluate", tmp_path, "--task", "gsm8k")
    assert code == 2 and "--task is for the folder of an open model" in err

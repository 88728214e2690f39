"""Answers in texts of many habits, and what hostile ones cost."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from rlsearch.tasks.answers import MAX_TEXT, answer_in, normal

# A clone of github.com/openai/grade-school-math, whose solutions say how they were judged.
PUBLISHED = os.environ.get("GRADE_SCHOOL_MATH", "")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is 3 + 4 = 7.\n#### 7", "7"),
        ("#### 1,234", "1234"),
        ("#### -5", "-5"),
        ("so 9 - 2\nA: 7", "7"),
        ("The answer is 42.", "42"),
        ("The answer is: **42**", "42"),
        ("Answer: $1,250.00", "1250"),
        ("the answer is 12 apples and 5 pears", "5"),
        ("The final answer is \\boxed{\\frac{3}{4}}.", "3/4"),
        ("\\boxed{1} or rather \\boxed{\\text{B}}", "b"),
        ("\\boxed{2^{10}}", "2^{10}"),
        ("\\boxed{3", "3"),
        ("<answer> 0.50 </answer>", "1/2"),
        ("first 3, then 4, so 50%", "50"),
        ("The answer is 3.0", "3"),
        ("The answer is six times 7 which is 42", "42"),
        ("half: 2/4", "1/2"),
        ("I do not know.", ""),
        ("", ""),
        ("The answer is", ""),
        ("1/0", "1/0"),
        ("The answer is Paris.", "paris"),
    ],
)
def test_the_answer_of_a_text(text, answer):
    assert answer_in(text) == answer


@pytest.mark.parametrize(
    "same", [("1,000", "1000", "$1000.00", "1000 dollars"), ("0.5", "1/2", ".5", "\\frac{1}{2}")]
)
def test_the_same_number_is_the_same_answer(same):
    assert len({normal(x) for x in same}) == 1


def test_different_answers_stay_different():
    each = ["7", "-7", "7/2", "70", "7 or 8", "seven", "7^2", "7 * 2", "1e7"]
    assert len({normal(x) for x in each}) == len(each)


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 100_000,
        "####" * 200_000,
        "answer" * 100_000,
        "answer is " * 80_000,
        "9" * MAX_TEXT,
        "1," * 400_000,
        "9/" * 400_000,
        "-" * MAX_TEXT,
        "A: " * 300_000,
        "\nA:" * 300_000,
        "<answer>" * 120_000,
        "((((" * 200_000,
        " \t" * 400_000,
        "answer" + " " * MAX_TEXT,
    ],
    ids=lambda text: repr(text[:9]),
)
def test_a_hostile_text_costs_little(text):
    began = time.monotonic()
    answer_in(text)
    assert time.monotonic() - began < 5.0


def test_published_verdicts_are_reproduced():
    """21.7, 39.0, 34.7 and 56.3%, and each of the 5,276 verdicts."""
    file = "grade_school_math/data/example_model_solutions.jsonl"
    if not PUBLISHED:
        pytest.skip("GRADE_SCHOOL_MATH names no clone of grade-school-math")
    path = Path(PUBLISHED)
    if (path / file).exists():
        text = (path / file).read_text()
    else:  # a repository without a work tree
        shown = ["git", "-C", str(path), "show", f"HEAD:{file}"]
        text = subprocess.run(shown, capture_output=True, check=True, text=True).stdout
    rows = [json.loads(line) for line in text.splitlines()]
    shares = {}
    for name in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
        right = [answer_in(x[name]["solution"]) == answer_in(x["ground_truth"]) for x in rows]
        assert right == [x[name]["is_correct"] for x in rows]
        shares[name] = round(100 * sum(right) / len(rows), 1)
    assert list(shares.values()) == [21.7, 39.0, 34.7, 56.3]

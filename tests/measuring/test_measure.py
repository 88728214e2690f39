"""Policies through strategies and budgets, and the rows of what comes of it."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from rlsearch.decoding.writer import Writer
from rlsearch.measuring import measure as measuring
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.measuring.costs import answer_flops
from rlsearch.measuring.examination import Contestant, Examination, mean_solution_tokens
from rlsearch.measuring.measure import Programs, in_parts, measure, measure_each
from rlsearch.measuring.rows import rows_of
from rlsearch.strategies.base import name_of
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import ToyTask, toy_model, toy_policy, toy_writer

PROMPTS = jnp.array(ToyTask.PROBLEMS, jnp.int32)
EXAMINATION = Examination(ToyTask(), "held_out", PROMPTS, epath.Path("."), "toys")  # pyright: ignore
WRITERS = {"base": Writer(toy_policy(), toy_model()[1]), "mine": toy_writer(0.3)}
CONTESTANTS = [Contestant(name, 7, writer, 6.0) for name, writer in WRITERS.items()]
# As DESIGN.md lists them for RUN/evaluations/NAME.json.
KEYS = {
    "checkpoint_step",
    "policy",
    "strategy",
    "settings",
    "verifier",
    "oracle",
    "budget",
    "seed",
    "accuracy",
    "ci95",
    "problems",
    "generations",
    "policy_tokens",
    "prompt_tokens",
    "verifier_tokens",
    "context_tokens",
    "flops",
    "seconds",
}


def rows_for(strategy, judge, budget, seeds, contestants=CONTESTANTS):
    """The rows of all contestants, one after another."""
    name, rows = name_of(strategy), []
    asked = strategy, contestants, judge, EXAMINATION, budget, seeds
    for contestant, measured in measure_each(*asked):
        rows += rows_of(name, contestant, judge, EXAMINATION, budget, seeds, measured)
    return rows


@pytest.fixture(scope="module")
def rows():
    found = []
    for strategy, judge, budgets in (
        (Greedy(), ValueHead(), (1, 2)),
        (BestOfN(), ValueHead(), (1, 2)),
        (TreeSearch(), ValueHead(), (2,)),
        (TreeSearch(), Checker.of(ToyTask()), (2,)),
    ):
        for budget in budgets:
            found += rows_for(strategy, judge, budget, (0, 5))
    return found


def test_the_unit_of_a_budget_is_the_length_of_a_sample():
    assert [float(mean_solution_tokens(x.writer, PROMPTS)) for x in CONTESTANTS] == [6.0, 6.0]
    assert CONTESTANTS[0].budget(3) == (3, 18)
    assert dataclasses.replace(CONTESTANTS[0], unit=5.26).budget(2) == (2, 11)


def test_rows_are_those_of_the_run_directory(rows):
    assert all(set(row) == KEYS for row in rows)
    settings = [(row["policy"], row["strategy"], row["oracle"], row["budget"]) for row in rows]
    assert len(settings) == 2 * 2 * (1 + 2 + 1 + 1)  # greedy has one budget
    assert ("base", "greedy", False, 2) not in settings
    for row in rows:
        assert row["seed"] in (0, 5) and row["problems"] == 9 and row["checkpoint_step"] == 7
        solved = row["accuracy"] * 9
        np.testing.assert_allclose(solved, round(solved))
        assert row["ci95"] == list(wilson_interval(round(solved), 9))
        assert 6 <= row["policy_tokens"] <= 6 * row["budget"]
        assert row["generations"] >= 1 and row["verifier_tokens"] == 0
        assert row["verifier"] == ("checker" if row["oracle"] else "value head")
        assert row["flops"] > 0 and row["seconds"] > 0


def timeless(rows):
    return [{**row, "seconds": 0} for row in rows]


def of_base(rows, *seeds):
    """Best-of-2 of the first policy."""
    kind = ("base", "best_of_n", 2)
    same = [r for r in rows if (r["policy"], r["strategy"], r["budget"]) == kind]
    return timeless([row for row in same if row["seed"] in seeds])


def test_parts_are_of_equal_size_and_hold_all():
    for number, largest in ((1, 1), (7, 3), (300, 128), (5, 0), (100, 8192)):
        parts = in_parts(number, largest)
        assert parts.shape[1] <= max(1, largest) and set(parts.reshape(-1)) == set(range(number))
        assert parts.size - number < parts.shape[0]


def test_batches_that_would_be_too_large_are_solved_in_parts(rows, monkeypatch):
    monkeypatch.setattr(measuring, "MAX_DRAFTS", 10)
    parted = rows_for(BestOfN(), ValueHead(), 2, (0, 5), CONTESTANTS[:1])
    assert timeless(parted) == of_base(rows, 0, 5) and len(parted) == 2


def test_seeds_in_one_batch_are_what_each_is_alone(rows):
    alone = rows_for(BestOfN(), ValueHead(), 2, (5,), CONTESTANTS[:1])
    assert timeless(alone) == of_base(rows, 5) and len(alone) == 1


def test_a_budget_that_cannot_be_spent_is_no_result():
    assert measure(Greedy(), CONTESTANTS[0], ValueHead(), EXAMINATION, 2, (0,)) is None


def test_policies_with_one_budget_share_a_program():
    class Counting(Greedy):
        traced = 0

        def solve(self, *arguments):
            Counting.traced += 1
            return super().solve(*arguments)

    strategy, programs = Counting(), Programs()
    longer = dataclasses.replace(CONTESTANTS[1], unit=6.6)
    found = [
        measure(strategy, x, ValueHead(), EXAMINATION, 1, (0,), programs)
        for x in (*CONTESTANTS, longer, *CONTESTANTS)
    ]
    assert Counting.traced == 2  # of six tokens, and of seven
    assert not (found[0].right == found[1].right).all()  # with the weights of each
    for one, other in zip(found[:2], found[3:], strict=True):
        np.testing.assert_array_equal(one.right, other.right)


def test_flops_grow_with_tokens():
    task = ToyTask()
    few, more, most = (answer_flops(toy_policy(), task, tokens) for tokens in (0, 6, 12))
    assert 0 < few < more < most
    np.testing.assert_allclose(most - more, more - few)

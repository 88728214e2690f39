import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.measuring import accuracy
from rlsearch.measuring.accuracy import (
    answer_flops,
    evaluate_strategy,
    in_parts,
    mean_solution_tokens,
    summarise,
    wilson_interval,
)
from rlsearch.measuring.accuracy_picture import draw
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import ToyTask, perturbed, toy_model, toy_policy

PROMPTS = jnp.array(ToyTask.PROBLEMS, jnp.int32)
# As DESIGN.md lists them for RUN/evaluations/NAME.json, but for the step, which the caller adds.
KEYS = {
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


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
        (5, 10, 0.2366, 0.7634),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_score_interval_has_known_values(successes, trials, low, high):
    np.testing.assert_allclose(wilson_interval(successes, trials), (low, high), atol=6e-5)


def test_the_interval_always_holds_the_share():
    for trials in range(1, 300):
        for successes in {0, 1, trials // 2, trials - 1, trials}:
            low, high = wilson_interval(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1


@pytest.fixture(scope="module")
def policy():
    return toy_policy()


@pytest.fixture(scope="module")
def params_of():
    _, params = toy_model()
    return {"base": params, "distilled": perturbed(params)}


@pytest.fixture(scope="module")
def rows(policy, params_of):
    units = {
        name: mean_solution_tokens(policy, params, PROMPTS) for name, params in params_of.items()
    }
    assert units == {"base": 6.0, "distilled": 6.0}
    task, found = ToyTask(), []
    critic, oracle = ValueHead(), Checker.of(task)
    for name, strategy, verifier, budgets in (
        ("greedy", Greedy(), critic, (1, 2)),
        ("best_of_n", BestOfN(), critic, (1, 2)),
        ("tree_search", TreeSearch(), critic, (2,)),
        ("tree_search", TreeSearch(), oracle, (2,)),
    ):
        for budget in budgets:
            found += evaluate_strategy(
                name, strategy, verifier, policy, params_of, units, task, PROMPTS, budget, (0, 5)
            )
    return found


def test_rows_are_those_of_the_run_directory(rows):
    assert all(set(row) == KEYS for row in rows)
    settings = [(row["policy"], row["strategy"], row["oracle"], row["budget"]) for row in rows]
    assert len(settings) == 2 * 2 * (1 + 2 + 1 + 1)  # greedy has one budget
    assert ("base", "greedy", False, 2) not in settings
    for row in rows:
        assert row["seed"] in (0, 5) and row["problems"] == 9
        solved = row["accuracy"] * 9
        np.testing.assert_allclose(solved, round(solved))
        assert row["ci95"] == list(wilson_interval(round(solved), 9))
        assert 6 <= row["policy_tokens"] <= 6 * row["budget"]
        assert row["generations"] >= 1 and row["verifier_tokens"] == 0
        assert row["verifier"] == ("checker" if row["oracle"] else "value head")
        assert row["flops"] > 0 and row["seconds"] > 0


def test_parts_are_of_equal_size_and_hold_all():
    for number, largest in ((1, 1), (7, 3), (300, 128), (5, 0), (100, 8192)):
        parts = in_parts(number, largest)
        assert parts.shape[1] <= max(1, largest) and set(parts.reshape(-1)) == set(range(number))
        assert parts.size - number < parts.shape[0]


def test_batches_that_would_be_too_large_are_solved_in_parts(rows, policy, params_of, monkeypatch):
    monkeypatch.setattr(accuracy, "MAX_DRAFTS", 10)
    base = {"base": params_of["base"]}
    task, budget, seeds = ToyTask(), 2, (0, 5)
    parted = evaluate_strategy(
        "best_of_n", BestOfN(), ValueHead(), policy, base, {"base": 6.0}, task, PROMPTS, 2, seeds
    )
    whole = [r for r in rows if r["policy"] == "base" and r["strategy"] == "best_of_n"]
    whole = [{**row, "seconds": 0} for row in whole if row["budget"] == budget]
    assert [{**row, "seconds": 0} for row in parted] == whole


def test_seeds_in_one_batch_are_what_each_is_alone(rows, policy, params_of):
    alone = evaluate_strategy(
        "best_of_n",
        BestOfN(),
        ValueHead(),
        policy,
        {"base": params_of["base"]},
        {"base": 6.0},
        ToyTask(),
        PROMPTS,
        2,
        seeds=(5,),
    )
    together = [
        row
        for row in rows
        if (row["policy"], row["strategy"], row["budget"], row["seed"])
        == ("base", "best_of_n", 2, 5)
    ]
    for one, other in zip(alone, together, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_flops_grow_with_tokens(policy):
    task = ToyTask()
    few, more, most = (answer_flops(policy, task, tokens) for tokens in (0, 6, 12))
    assert 0 < few < more < most
    np.testing.assert_allclose(most - more, more - few)


def row(policy="base", strategy="greedy", oracle=False, budget=1, **facts):
    kind = {"policy": policy, "strategy": strategy, "oracle": oracle, "budget": budget}
    costs = {"policy_tokens": 6.0, "verifier_tokens": 0.0, "flops": 100.0}
    return {**kind, "verifier": "value head", "accuracy": 0.5, "problems": 10, **costs, **facts}


def test_the_summary_has_means_over_seeds():
    rows = [
        row(accuracy=0.2, policy_tokens=4.0, flops=100.0),
        row(accuracy=0.4, policy_tokens=8.0, flops=300.0),
        row(accuracy=1.0, budget=4),
        row(accuracy=0.1, oracle=True),
        row(accuracy=0.7, verifier="mine", verifier_tokens=3.0),
    ]
    first, *others = summarise(rows)
    np.testing.assert_allclose(first["accuracy"], 0.3)
    np.testing.assert_allclose(first["ci95"], wilson_interval(3, 10))
    assert (first["seeds"], first["problems"], first["policy_tokens"]) == (2, 10, 6.0)
    assert first["flops"] == 200.0
    assert [(r["budget"], r["oracle"], r["accuracy"]) for r in others] == [
        (4, False, 1.0),
        (1, True, 0.1),
        (1, False, 0.7),
    ]
    assert [r["verifier_tokens"] for r in others] == [0.0, 0.0, 3.0]
    assert summarise([]) == []


def test_a_picture_can_be_drawn_of_any_result(tmp_path):
    rows = [
        row(accuracy=share, policy=policy, strategy=strategy, budget=budget, problems=4)
        for share, policy, strategy, budget in [
            (0.0, "base", "greedy", 1),
            (1.0, "base", "best_of_n", 1),  # whose interval ends at 1 but for rounding
            (1.0, "base", "best_of_n", 4),
            (0.5, "distilled", "tree_search", 16),
            (0.5, "mine", "my.module:Strategy", 16),
            (0.5, "base", "lookahead_search", 16),
        ]
    ]
    path = tmp_path / "held_out.png"
    draw(summarise([*rows, row(oracle=True, strategy="tree_search")]), path, "a title")
    assert path.read_bytes().startswith(b"\x89PNG")
    draw(summarise(rows[3:4]), path, "a tree search alone")

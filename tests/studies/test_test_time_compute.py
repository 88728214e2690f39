"""The study's bookkeeping; that it runs is tested with the command."""

import numpy as np

from rlsearch.measuring.equal_tokens import at_equal_tokens, in_words
from rlsearch.studies.test_time_compute import best_by_difficulty, needed

EASE = {"oracle": np.linspace(1, 0, 20), "predicted": np.linspace(0, 1, 20), "tokens": 640.0}
HARD = np.arange(20) >= 10
RIGHT = {
    ("base", "best_of_n", 1): (~HARD).astype(float),
    ("base", "beam_search", 1): HARD.astype(float),
    ("base", "best_of_n", 4): np.ones(20),
    ("other", "best_of_n", 1): np.zeros(20),
}


def test_each_difficulty_gets_the_strategy_that_is_best_for_it():
    rows = best_by_difficulty("base", "oracle", EASE, RIGHT, (1, 4, 16))
    assert [row["budget"] for row in rows] == [1, 4]  # nothing was measured at 16
    first = rows[0]
    assert first["by_bin"][:2] == [1.0, 1.0] and first["by_bin"][3:] == [1.0, 1.0]
    assert first["baseline_by_bin"] == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert first["chosen"][0] == ["best_of_n"] * 2 and first["chosen"][4] == ["beam_search"] * 2
    assert first["difficulty_tokens"] == 640.0 and first["problems"] == 20
    # The other difficulty has the same bins in the other order.
    reverse = best_by_difficulty("base", "predicted", EASE, RIGHT, (1,))[0]
    assert reverse["chosen"][0] == ["beam_search"] * 2


def row(strategy, budget, accuracy):
    return {
        **{"policy": "base", "strategy": strategy, "budget": budget, "accuracy": accuracy},
        "ci95": [accuracy - 0.1, accuracy + 0.1],
    }


def test_it_is_said_what_the_baselines_accuracy_costs_the_others():
    summary = [row("best_of_n", 1, 0.1), row("best_of_n", 64, 0.5)]
    summary += [row("beam_search", 1, 0.1), row("beam_search", 64, 0.4)]
    optimal = [
        {"policy": "base", "difficulty": "oracle", "budget": budget, "accuracy": accuracy}
        for budget, accuracy in ((1, 0.1), (16, 0.5), (64, 0.6))
    ]
    (found,) = needed(summary, optimal)
    assert (found["accuracy"], found["best_of_n"]) == (0.5, 64)
    assert found["compute-optimal, oracle difficulty"] == 16
    assert found["compute-optimal, predicted difficulty"] is None  # was not measured
    assert found["beam_search"] is None  # does not get there
    assert found["ci95"]["beam_search"] == [64, None]  # but to the interval's lower end
    assert needed([], []) == []


def spent(strategy, budget, accuracy, policy_tokens, verifier_tokens):
    costs = {"policy_tokens": policy_tokens, "verifier_tokens": verifier_tokens, "ci95": [0, 1]}
    return row(strategy, budget, accuracy) | costs


def test_strategies_are_held_against_baselines_at_the_tokens_that_they_took():
    summary = [
        spent("best_of_n", 1, 0.1, 10, 10),
        spent("best_of_n", 16, 0.5, 160, 160),
        spent("self_consistency", 16, 0.2, 160, 0),
        spent("self_consistency", 1, 0.1, 10, 0),
        spent("beam_search", 4, 0.4, 30, 50),  # 80 in all, half way from 20 to 320
        spent("beam_search", 16, 0.6, 160, 0),
        spent("beam_search", 64, 0.7, 600, 40),
    ]
    four, sixteen, most = at_equal_tokens(summary)
    (over,) = at_equal_tokens([*summary[:2], spent("beam_search", 16, 0.6, 163, 160)])
    assert over["best_of_n"] == 0.5 and "self_consistency" not in over
    assert (four["tokens"], four["accuracy"], four["ci95"]) == (80, 0.4, [0, 1])
    np.testing.assert_allclose(four["best_of_n"], 0.3)
    np.testing.assert_allclose(four["self_consistency"], 0.175)
    assert sixteen["self_consistency"] == 0.2 and 0.3 < sixteen["best_of_n"] < 0.5
    assert most["best_of_n"] is None and most["self_consistency"] is None
    assert in_words(four).endswith(
        "80 tokens   40.0%  for as many: best_of_n  30.0%, self_consistency  17.5%"
    )
    assert "best_of_n not measured there" in in_words(most)
    assert "no baseline" in in_words(at_equal_tokens(summary[4:5])[0])

import numpy as np
import pytest

from rlsearch.measuring.accuracy import summarise, wilson_interval
from rlsearch.measuring.accuracy_picture import colours_of, draw


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


def test_every_policy_has_a_colour_by_its_order_whatever_its_name():
    names = ["mine", "my \u2028 other", "a third", "mine"]
    colours = colours_of(names)
    assert list(colours) == names[:3] and len(set(colours.values())) == 3
    assert list(colours_of(["x", "y", "z"]).values()) == list(colours.values())
    assert len(colours_of(str(number) for number in range(50))) == 50  # they begin again

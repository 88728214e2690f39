"""What is claimed of a small model that thinks longer, and what is not."""

import dataclasses

import numpy as np
import pytest

from rlsearch.studies.exchange import Share, compare, interpolate
from tests.commands import fail, read_json, succeed
from tests.tiny import tiny_experiment, with_stage, with_stages, write_config_file

CURVE = [(1.0, 0.1), (4.0, 0.3), (16.0, 0.4)]


def test_a_curve_is_read_between_two_budgets_by_their_logarithms():
    assert interpolate(CURVE, 1.0) == pytest.approx(0.1)
    assert interpolate(CURVE, 2.0) == pytest.approx(0.2)
    assert interpolate(CURVE, 8.0) == pytest.approx(0.35)
    assert interpolate(CURVE, 16.0) == pytest.approx(0.4)


@pytest.mark.parametrize("place", [0.5, 17.0, 257.8])
def test_a_curve_says_nothing_where_it_is_not(place):
    assert interpolate(CURVE, place) is None


def test_equal_flops_are_at_the_papers_multiples():
    large = Share(0.35, 10_000)
    found = [compare(CURVE, 14.0, ratio, large) for ratio in (0.16, 0.79, 22.0)]
    multipliers = [row["multiplier"] for row in found]
    np.testing.assert_allclose(multipliers, [257.8, 63.4, 15.8], atol=0.1)
    assert [row["small"] is None for row in found] == [True, True, False]
    # What the curve has reached before the multiple is known, even where it ends before it.
    assert [row["better"] for row in found] == ["small"] * 3
    assert found[0]["at_least"] == 0.4 and found[0]["curve_ends_at"] == 16.0


def test_nothing_is_claimed_of_what_was_not_measured():
    beyond = compare(CURVE, 14.0, 0.16, Share(0.9, 100))
    assert (beyond["small"], beyond["better"]) == (None, "unknown")
    assert compare(CURVE, 14.0, 22.0, Share(0.9, 100))["better"] == "large"
    before = compare([(30.0, 0.5)], 14.0, 22.0, Share(0.1, 100))
    assert (before["small"], before["at_least"], before["better"]) == (None, None, "unknown")


def test_one_is_better_only_where_the_intervals_are_apart():
    flat = [(1.0, 0.5), (99.0, 0.5)]
    for large, better in ((0.5, "undecided"), (0.6, "undecided"), (0.7, "large"), (0.3, "small")):
        found = compare(flat, 14.0, 22.0, Share(large, 100))
        assert found["better"] == better
        assert found["ci95"] == list(Share(0.5, 100).interval)
    assert compare(flat, 14.0, 22.0, Share(0.3, 10))["better"] == "undecided"


def test_the_best_of_a_noisy_curve_is_not_what_it_reaches():
    falling = [(1.0, 0.1), (8.0, 0.6), (64.0, 0.4)]
    found = compare(falling, 14.0, 0.16, Share(0.5, 10_000))
    assert (found["small"], found["at_least"], found["better"]) == (None, 0.4, "unknown")


def experiment(**model):
    config = with_stage(with_stages(tiny_experiment(), "base"), "base", num_steps=1)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **model))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A small and a larger model after a step of training."""
    folder, found = tmp_path_factory.mktemp("runs"), []
    for name, model in (("small", {}), ("large", {"mlp_dim": 256})):
        path = write_config_file(folder / f"{name}.py", experiment(**model))
        succeed("train", path, "--run-dir", folder / name)
        found.append(folder / name)
    return found


@pytest.mark.slow
def test_the_exchange_writes_its_table_and_picture(runs):
    small, large = runs
    asked = ["--suite", "exchange", "--budgets", 1, 2, "--seeds", 0, "--problems", 5]
    result = read_json("evaluate", small, *asked, "--against", large, "--strategies", "best_of_n")
    assert (small / "evaluations" / "exchange.png").read_bytes().startswith(b"\x89PNG")
    assert (small / "evaluations" / "exchange.json").exists()
    assert result["large"]["parameters"] / result["small"]["parameters"] == pytest.approx(
        result["parameter_ratio"]
    )
    (curve,) = [curve for curve in result["curves"] if curve["group"] == "all"]
    places = [place for place, _ in curve["points"]]
    # Reading the prompt is part of an answer, and paid once.
    assert places[0] == pytest.approx(1.0) and 1.5 < places[1] < 2.0
    rows = result["exchange"]
    assert [row["ratio"] for row in rows[:3]] == [0.16, 0.79, 22.0] and len(rows) == 18
    assert {row["group"] for row in rows[3:]} == {f"bin {number}" for number in range(1, 6)}
    assert rows[0]["small"] is None and rows[0]["curve_ends_at"] == pytest.approx(places[1])
    # And what cannot be compared is refused.
    assert "must have more than the" in fail("evaluate", large, *asked, "--against", small)
    assert "must have more than the" in fail("evaluate", small, *asked, "--against", small)
    assert "the study of exchange needs --against" in fail("evaluate", small, *asked)
    said = fail("evaluate", small, "--against", large)
    assert "--against is not for the study of accuracy" in said
    said = fail("evaluate", small, *asked, "--against", large, "--policies", "base")
    assert "--policies is not for the study of exchange" in said
    config = (large / "config.json").read_text()
    (large / "config.json").write_text(config.replace('"batch_size": 8', '"batch_size": 4', 1))
    said = fail("evaluate", small, *asked, "--against", large)
    assert "base.batch_size is 4 and that of the small model 8" in said

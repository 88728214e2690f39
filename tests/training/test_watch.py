"""A stage that fails silently is told of: once, and not because of one bad step."""

import pytest

from rlsearch.training.watch import ROWS, Watch


def told(rows):
    watch = Watch("distilled")
    return [line for row in rows for line in watch.see(row)]


@pytest.mark.parametrize(
    ("metric", "bad", "good", "said"),
    [
        ("cut", 0.63, 0.4, "63% of the texts are cut"),
        ("no_spread", 0.95, 0.85, "in 95% of the groups"),
        ("judge_failures", 0.2, 0.05, "for 20% of the texts"),
        ("solved", 0.0, 0.01, "none of the problems of 10 steps were solved"),
    ],
)
def test_what_stays_bad_is_told_once(metric, bad, good, said):
    (line,) = told([{metric: bad}] * 3 * ROWS)
    assert line.startswith("distilled: ") and said in line
    assert told([{metric: bad}] * (ROWS - 1)) == []
    assert told([{metric: good}] * 3 * ROWS) == []
    assert told([{metric: good}] * ROWS + [{metric: bad}] + [{metric: good}] * ROWS) == []


def test_what_a_stage_does_not_measure_is_not_told():
    assert told([{"value_loss": 0.5}] * 2 * ROWS) == []

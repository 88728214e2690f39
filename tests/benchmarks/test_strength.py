import itertools

import pytest

from rlsearch.benchmarks import strength as bench_strength
from rlsearch.benchmarks.strength import Trained, draw, race


@pytest.fixture
def clock(monkeypatch):
    """Time passes only when a loop says so."""
    now = [0.0]
    monkeypatch.setattr(bench_strength.time, "perf_counter", lambda: now[0])
    return now


def loop(clock, seconds):
    """A loop whose turns take `seconds`, and whose strength is the number of its turns."""
    for turn in itertools.count(1):
        clock[0] += seconds
        yield Trained(None, turn)


def test_the_others_keep_pace_with_the_first(clock):
    loops = {"slow": loop(clock, 10.0), "fast": loop(clock, 3.0)}
    lines = []

    def strength(trained):
        clock[0] += 1000.0  # measuring is on nobody's clock
        return trained.params / 10

    curves = race(loops, strength, 25.0, lines.append)
    assert curves == {
        "slow": [(10.0, 0.1), (20.0, 0.2), (30.0, 0.3)],
        "fast": [(12.0, 0.4), (21.0, 0.7), (30.0, 1.0)],
    }
    assert len(lines) == 6


def test_curves_become_a_picture(tmp_path):
    draw({"example": [(30.0, 0.5), (60.0, 0.6)], "rlsearch": [(31.0, 0.7)]}, tmp_path / "a.png", "")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

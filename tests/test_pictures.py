"""Every picture is drawn whatever names it is given, and shows them as text."""

import ast
import itertools
import pathlib
import warnings

import matplotlib.figure
import matplotlib.text
import pytest

import rlsearch
from rlsearch.arena import returns, tournament_picture
from rlsearch.benchmarks import strength
from rlsearch.measuring import accuracy_picture
from rlsearch.measuring.total_compute import RATIOS
from rlsearch.pages import report_picture
from rlsearch.studies import (
    exchange_picture,
    revisions_picture,
    test_time_compute_picture,
    total_compute_picture,
    verifiers_picture,
)
from rlsearch.text import for_picture
from tests.names import HOSTILE

PACKAGE = pathlib.Path(rlsearch.__file__).parent


def row(name, **more):
    """What all tables have in a row, and what some have."""
    return {
        **{"policy": name, "strategy": name, "verifier": name, "oracle": False, "budget": 4},
        **{"policy_tokens": 84.0, "verifier_tokens": 21.0, "accuracy": 0.5, "ci95": [0.4, 0.6]},
        **{"seed": 0, "problems": 10, "flops": 1e6, **more},
    }


def draw_exchange(name, path):
    at = {"multiplier": 2.0, "small": 0.4, "at_least": 0.4, "large": 0.5}
    exchange = [
        {"strategy": name, "group": group, "ratio": ratio, **at}
        for group in ("all", "bin 1", name)
        for ratio in RATIOS
    ]
    curves = [{"strategy": name, "group": "all", "points": [(1.0, 0.3), (4.0, 0.5)]}]
    large = {"accuracy": 0.5, "ci95": [0.4, 0.6]}
    result = {"parameter_ratio": 4.0, "curves": curves, "large": large, "exchange": exchange}
    exchange_picture.draw(result, path, name)


def draw_revisions(name, path):
    rows = [row(name, settings={"sequential": s, "parallel": 4 // s}) for s in (1, 4)]
    turned = {"right_to_wrong": 0.1, "wrong_to_right": 0.2}
    revised = [{"sequential": s, "by_attempt": [0.2] * s, **turned} for s in (1, 4)]
    revisions_picture.draw(rows, revised, path, name)


def draw_test_time_compute(name, path):
    rows = [row(name, budget=budget) for budget in (1, 4)]
    best = row(name, difficulty="oracle", by_bin=[0.5] * 5, baseline_by_bin=None)
    test_time_compute_picture.draw(rows, [best], path, name)


def draw_total_compute(name, path):
    more = {"frontier": True, "answers": 9, "total_flops": 1e9}
    rows = [row(name, ratio=ratio, **more) for ratio in RATIOS]
    total_compute_picture.draw(rows, path, name)


def draw_verifiers(name, path):
    steps = {"reliability": [[0.5, 0.4]], "accuracy": 0.5, "auc": 0.6, "calibration_error": 0.1}
    judged = [
        {"verifier": name, "steps": steps},
        {"verifier": name, "steps": steps} | {"generations": 3},
    ]
    verifiers_picture.draw([row(name, strategy="best_of_n")], judged, path, name)


def draw_tournament(name, path):
    kinds = (("random", 0), ("mcts", 16), ("run", 0), ("run", 32))
    players = [
        {
            "name": f"{name}@{number}",
            "settings": {
                **{"kind": kind, "num_simulations": number, "checkpoint_step": step},
                "training_seconds": 1.0 * step,
            },
            **{"elo": 10.0, "ci95_from_mean": [0.0, 20.0]},
        }
        for (kind, number), step in itertools.product(kinds, (3, 6))
    ]
    tournament_picture.draw(players, path, name)


def draw_returns(name, path):
    rows = [row(name, mean_return=0.5, strategy=kind) for kind in ("random", name)]
    returns.draw(rows, path, name)


def draw_strength(name, path):
    strength.draw({name: [(60.0, 0.5), (120.0, 0.6)]}, path, name)


def draw_report(name, path):
    runs, rows = [], []
    for group in (f"name={name}", name):
        metrics = [{"step": step, "stage": name, name: 0.5 * step} for step in (1, 2)]
        runs.append({"group": group, "metrics": metrics})
        rows.append(
            row(name, benchmark=name, group=group, training_seeds=1, lowest=0.5, highest=0.5)
        )
    path.write_bytes(report_picture.draw(rows, runs))


def draw_accuracy(name, path):
    accuracy_picture.draw([row(name), row(name, budget=1)], path, name)


DRAWN = {
    "arena/returns.py": draw_returns,
    "arena/tournament_picture.py": draw_tournament,
    "benchmarks/strength.py": draw_strength,
    "measuring/accuracy_picture.py": draw_accuracy,
    "pages/report_picture.py": draw_report,
    "studies/exchange_picture.py": draw_exchange,
    "studies/revisions_picture.py": draw_revisions,
    "studies/test_time_compute_picture.py": draw_test_time_compute,
    "studies/total_compute_picture.py": draw_total_compute,
    "studies/verifiers_picture.py": draw_verifiers,
}


def test_every_picture_is_in_this_test():
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "rlsearch.figure":
                found.add(str(file.relative_to(PACKAGE)))
    assert found == set(DRAWN)


@pytest.fixture
def texts(monkeypatch):
    """What stands in the figures that are saved; nothing is rasterised for long."""
    found: list[str] = []
    save = matplotlib.figure.Figure.savefig

    def recorded(figure, *args, **kwargs):
        found.extend(text.get_text() for text in figure.findobj(matplotlib.text.Text))
        figure.set_dpi(20)
        save(figure, *args, **kwargs | {"dpi": 20})

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", recorded)
    return found


# All that is hostile to a picture in one name, which is drawn in no time; `tests/test_text.py` has
# one by one what becomes of them.
WORST = "".join(HOSTILE[kind] for kind in ("hidden", "broken_mathematics", "nul", "surrogate"))


@pytest.mark.parametrize("file", DRAWN)
def test_a_picture_shows_every_name_as_text(file, texts, tmp_path):
    for name in (WORST + HOSTILE["newline"], HOSTILE["long"]):
        texts.clear()
        path = tmp_path / "picture.png"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            DRAWN[file](name, path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert all(text.isprintable() and len(text) < 300 for text in texts)
        shown = for_picture(name).strip()
        named = [text for text in texts if shown[:30].replace("_", " ") in text.replace("_", " ")]
        assert named, (name, texts)
        # No dollar begins mathematics, but in the numbers of an axis.
        assert not any("$" in text.replace(r"\$", "") for text in named)

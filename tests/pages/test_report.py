"""`rlsearch report`: runs are grouped by what differs, and seeds are averaged."""

import dataclasses
import html
import json

import numpy as np
import pytest

from rlsearch.config_data import to_data
from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.pages.report import report
from rlsearch.pages.report_picture import Panel, panels
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.records import MAX_TEXT
from rlsearch.sharing.model_card import evaluations_of
from tests.commands import call, fail, read_json, succeed
from tests.names import HOSTILE
from tests.tiny import tiny_experiment, with_stage


def make_run(folder, seed=0, simulations=3, accuracies=(), damaged=""):
    config = tiny_experiment()
    config = with_stage(config, "distilled", search={"num_simulations": simulations})
    log = dataclasses.replace(config.log, every_steps=seed + 1)
    config = dataclasses.replace(config, name=str(folder), seed=seed, log=log)
    (folder / "evaluations").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"format": 2, **to_data(config)}))
    lines = [{"step": step, "seconds": 1.0, "policy_loss": step * (seed + 1)} for step in (1, 2, 3)]
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "metrics.jsonl").write_text(text + '\n{"step": 4, "sec')
    rows = [
        {
            **{
                "policy": "base",
                "checkpoint_step": 3,
                "strategy": "best_of_n",
                "verifier": "value head",
            },
            **{"oracle": False, "budget": 4, "seed": number, "accuracy": accuracy},
            **{"problems": 20, "policy_tokens": 84.0, "verifier_tokens": 0.0, "flops": 1e6},
        }
        for number, accuracy in enumerate(accuracies)
    ]
    found = json.dumps({"benchmark": "held_out", "rows": rows})
    (folder / "evaluations" / "held_out.json").write_text(damaged or found)
    return str(folder)


@pytest.fixture
def sweep(tmp_path):
    make_run(tmp_path / "s" / "a", seed=0, accuracies=(0.2, 0.4))
    make_run(tmp_path / "s" / "b", seed=1, accuracies=(0.5, 0.5))
    make_run(tmp_path / "s" / "c", seed=0, simulations=4, accuracies=(1.0,))
    make_run(tmp_path / "s" / "<d>", seed=1, simulations=4)
    return tmp_path / "s"


def test_seeds_are_averaged_and_experiments_kept_apart(sweep):
    result = report([str(sweep)])
    assert result["fields"] == [
        "distilled.search.num_simulations"
    ]  # not the name, the seed or the log
    three, four = result["rows"]
    assert (three["group"], four["group"]) == (
        "distilled.search.num_simulations=3",
        "distilled.search.num_simulations=4",
    )
    np.testing.assert_allclose(
        [three["accuracy"], three["lowest"], three["highest"]], [0.4, 0.3, 0.5]
    )
    assert three["ci95"] == list(wilson_interval(three["accuracy"] * 20, 20))
    assert (three["training_seeds"], four["training_seeds"]) == (2, 1)
    assert [run["steps"] for run in result["runs"]] == [3] * 4  # half a line is no line


def test_the_page_holds_all_and_fetches_nothing(sweep):
    result = report([str(sweep)])
    page = (sweep / "report.html").read_text()
    assert result["page"] == str(sweep / "report.html")
    assert (
        "distilled.search.num_simulations=4" in page and "40.0%" in page and "30.0 to 50.0%" in page
    )
    assert "<d>" not in page and "&lt;d&gt;" in page
    assert "http" not in page and "<script" not in page and "data:image/png;base64," in page
    assert (sweep / "report.png").read_bytes().startswith(b"\x89PNG")


def test_runs_alone_are_compared_and_written_where_told(tmp_path):
    first = make_run(tmp_path / "a", accuracies=(0.5,))
    second = make_run(tmp_path / "b", seed=1, accuracies=(0.5,))
    out = tmp_path / "out"
    result = read_json("report", first, second, "--out", out)
    assert result["fields"] == [] and result["rows"][0]["group"] == "all runs"
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.png"]
    assert "50.0%  of 2 trainings" in succeed("report", first, second, "--out", out)


def test_a_run_without_results_has_a_page_too(tmp_path):
    folder = make_run(tmp_path / "a")
    (tmp_path / "a" / "metrics.jsonl").unlink()
    assert report([folder])["rows"] == []
    assert "None has been evaluated" in (tmp_path / "a" / "report.html").read_text()


@pytest.mark.parametrize(
    "table",
    [
        {"benchmark": "arena", "players": [], "pairings": []},
        {"benchmark": "returns", "rows": [{"policy": "self_play", "mean_return": 3.0}]},
    ],
)
def test_what_is_measured_otherwise_is_left_out(tmp_path, table):
    folder = make_run(tmp_path / "a", accuracies=(0.5,))
    (tmp_path / "a" / "evaluations" / "other.json").write_text(json.dumps(table))
    assert [row["accuracy"] for row in report([folder])["rows"]] == [0.5]
    directory = RunDirectory(folder, create=False)
    assert evaluations_of(directory, "base", 3)[0]["accuracy"] == 0.5


@pytest.mark.parametrize("damaged", ["{", "[]", '{"rows": []}', '{"benchmark": "x", "rows": 3}'])
def test_a_damaged_evaluation_is_named(tmp_path, damaged):
    folder = make_run(tmp_path / "a", damaged=damaged)
    assert "held_out.json is damaged: it" in fail("report", folder)


def test_where_there_is_no_run_it_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        assert "there is no config.json in it" in fail("report", tmp_path / name)


@pytest.fixture
def undrawn(monkeypatch):
    """The picture is left out, which takes longest: `tests/test_pictures.py` is about it."""
    monkeypatch.setattr("rlsearch.pages.report.draw", lambda *_: b"")


def page_of(folder):
    """Its text without the picture."""
    page = (folder / "report.html").read_text()
    before, _, after = page.partition("base64,")
    return before + after.partition('"')[2]


def test_one_training_is_no_comparison(tmp_path):
    folder = make_run(tmp_path / "a", accuracies=(0.5, 0.5))
    assert "50.0%  of 1 training\n" in succeed("report", folder)
    page = page_of(tmp_path / "a")
    assert "<h1>1 run</h1>" in page and "differ" not in page and "1 runs" not in page
    assert "range" not in page and "trainings</th>" not in page and "all runs" not in page


def test_several_trainings_have_a_range_if_they_have_one(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path / "s" / str(seed), seed=seed, accuracies=(0.5,))
    report([str(tmp_path / "s")])
    page = page_of(tmp_path / "s")
    assert "<h1>2 runs compared</h1>" in page and "nothing but the seed" in page
    assert "50.0% in each" in page and "50.0 to 50.0%" not in page


def test_what_every_row_says_is_said_once(sweep):
    report([str(sweep)])
    accuracies, runs = page_of(sweep).partition("<h2>Accuracy</h2>")[2].split("<h2>Runs</h2>")
    for word in ("held_out", "best_of_n", "value head"):
        assert accuracies.count(word) == 1
    assert "In every row benchmark: held_out; policy: base; strategy: best_of_n" in accuracies
    assert "<th>benchmark</th>" not in accuracies and "<th>group</th>" in accuracies
    assert "In every row steps: 3." in runs and ">steps</th>" not in runs


def test_a_metric_is_one_of_a_stage():
    def logged(stage, *names):
        return [{"step": step, "stage": stage, **dict.fromkeys(names, 0.5)} for step in (1, 2)]

    metrics = [
        *logged("base", "loss"),
        *logged("distilled", "loss", "solved"),
        *logged("control", "solved"),
    ]
    row = {"benchmark": "held_out", "policy": "base"}
    places = panels([row], [{"group": "a", "metrics": metrics}])
    assert places == {
        (0, 0): Panel("held_out", "base", False),
        (1, 0): Panel("base", "loss", True),
        (2, 0): Panel("distilled", "loss", True),
        (2, 1): Panel("distilled", "solved", True),
        (3, 0): Panel("control", "solved", True),
    }
    many = [line for number in range(50) for line in logged(str(number), *map(str, range(50)))]
    assert len(panels([], [{"group": "a", "metrics": many}])) == 8 * 12


def test_a_folder_is_no_pattern(tmp_path):
    for name in ("a[1]", "a*", "a?"):
        folder = make_run(tmp_path / name, accuracies=(0.5,))
        assert [row["accuracy"] for row in report([folder])["rows"]] == [0.5]
        directory = RunDirectory(folder, create=False)
        assert evaluations_of(directory, "base", 3)[0]["accuracy"] == 0.5


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_are_text(tmp_path, kind, undrawn):
    """In a table, a metric, a stage, a config and, where it can be one, in a folder's name."""
    name = HOSTILE[kind][:MAX_TEXT]  # a longer one is none
    plain = kind not in ("nul", "surrogate", "long", "long_words") and "/" not in name
    runs = [tmp_path / ("s/" + (name if plain else "a")), tmp_path / "s" / "b"]
    for number, folder in enumerate(runs):
        make_run(folder, simulations=3 + number, accuracies=(0.5, 0.7))
        for file in ("config.json", "evaluations/held_out.json"):
            read = json.loads((folder / file).read_text())
            rows = read.get("rows", [])
            read |= (
                {"benchmark": name} if rows else {"task": {"cls": name, "data_dir": str(number)}}
            )
            for row in rows:
                row |= {"policy": name, "strategy": name, "verifier": name}
            (folder / file).write_text(json.dumps(read))
        line = json.dumps({"step": 7, "seconds": 1.0, "stage": name, name: 0.5})
        (folder / "metrics.jsonl").write_text(f"{line}\n")
    code, out, err = call("report", tmp_path / "s")
    assert (code, err) == (0, "") and out.count("\n") == 4
    assert out.replace("\n", "").isprintable() and max(map(len, out.splitlines())) < 400
    page = page_of(tmp_path / "s")
    assert page.replace("\n", "").replace("\t", "").isprintable()
    assert "<script" not in page and "<img src=x" not in page
    if plain and name.isprintable():
        assert name in html.unescape(page)


@pytest.mark.parametrize(
    "line",
    [
        *("3", "[]", "null", '"x"', "{", '{"step": "3"}', '{"step": true}', '{"step": 1e999}'),
        *('{"step": 4, "policy_loss": "x"}', '{"step": 4, "policy_loss": [1]}', "[" * 100_000),
        *('{"step": 4, "policy_loss": NaN, "stage": 3}', '{"step": 4, "policy_loss": 1e400}'),
        '{"step": 4, "policy_loss": null, "x": {"y": 1}}',
    ],
    ids=lambda line: line[:40],
)
def test_a_damaged_line_of_metrics_is_left_out(tmp_path, line, undrawn):
    folder = make_run(tmp_path / "a")
    with open(tmp_path / "a" / "metrics.jsonl", "ab") as file:
        file.write(b"\n" + line.encode() + b"\n\xff\xfe\x00\n")
    assert report([folder])["runs"][0]["steps"] in (3, 4)


@pytest.mark.parametrize(
    "change",
    [
        *({"accuracy": None}, {"accuracy": "x"}, {"accuracy": 1e400}, {"accuracy": 7}),
        *({"strategy": []}, {"policy": None}, {"verifier": {}}, {"policy_tokens": "x"}),
        *({"problems": 0}, {"problems": "20"}, {"budget": None}, {"flops": [1]}),
    ],
    ids=str,
)
def test_a_damaged_row_is_left_out_and_said(tmp_path, change, undrawn):
    folder = make_run(tmp_path / "a", accuracies=(0.25, 0.5))
    path = tmp_path / "a" / "evaluations" / "held_out.json"
    table = json.loads(path.read_text())
    table["rows"][0] |= change
    path.write_text(json.dumps(table))
    code, out, err = call("report", folder, "--json")
    assert code == 0 and "1 rows are no evaluations and are left out, of held_out.json" in err
    assert [row["accuracy"] for row in json.loads(out)["rows"]] == [0.5]

"""Rows that a run has recorded: each is checked where it is read, and a bad one is left out."""

import json

import pytest

from rlsearch.pages.report import report
from rlsearch.runs import records
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.records import evaluation_rows, evaluations_in, metric_rows
from rlsearch.sharing.model_card import evaluations_of, model_card
from rlsearch.training.metrics import MetricsWriter, read_metrics
from tests.tiny import tiny_experiment

METRICS = {"step": 3, "seconds": 1.5, "stage": "base", "loss": 0.5, "solved": None, "count": 4}
EVALUATED = {
    "policy": "base",
    "checkpoint_step": 3,
    "strategy": "best_of_n",
    "verifier": "value head",
    "oracle": False,
    "budget": 4,
    "seed": 0,
    "accuracy": 0.5,
    "problems": 20,
    "policy_tokens": 84.0,
    "verifier_tokens": 0.0,
    "flops": 1e6,
}
HUGE = 10**400
ODD = (None, True, "text", "", [], {}, [1], {"a": 1}, -1, 1.5, 2**63, HUGE, "nan", "inf", "x" * 201)
ODD += (float("nan"), float("inf"), 1e301)
GOOD = {  # of the odd values those that a field may have
    "step": (),
    "seconds": (-1, 1.5, 2**63),
    "stage": ("text", "nan", "inf"),
    "loss": (None, -1, 1.5, 2**63),
    "policy": ("text", "nan", "inf"),
    "checkpoint_step": (None,),
    "strategy": ("text", "nan", "inf"),
    "verifier": ("text", "nan", "inf", ""),
    "oracle": (True,),
    "budget": (),
    "seed": (None,),
    "accuracy": (),
    "problems": (),
    "policy_tokens": (1.5, 2**63),
    "verifier_tokens": (1.5, 2**63),
    "flops": (1.5, 2**63),
}


def changed(row):
    """Each field of a row with each odd value, and whether that is a good row."""
    for field in row:
        for value in ODD:
            if field in GOOD:
                good = any(
                    value is x or (value == x and type(value) is type(x)) for x in GOOD[field]
                )
                yield {**row, field: value}, good


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_run(path, metrics=None, rows=None):
    run = RunDirectory(path)
    run.write_config({"name": "a [1] run"})
    if metrics is not None:
        write_lines(run.metrics, metrics)
    if rows is not None:
        run.evaluations.mkdir()
        table = {"benchmark": "held_out", "rows": rows}
        (run.evaluations / "held_out.json").write_text(json.dumps(table))
    return run


def test_of_metrics_each_field_may_be_what_is_written_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.jsonl"
    cases = list(changed(METRICS))
    write_lines(path, [METRICS, *(row for row, _ in cases)])
    rows, bad = metric_rows(path)
    assert rows == [METRICS, *(row for row, good in cases if good)]
    assert bad == [number for number, (_, good) in enumerate(cases, start=2) if not good]


LINES = {
    "nested": "[" * 10_000 + "]" * 10_000,
    "nested in a row": '{"step": 4, "seconds": 1, "loss": ' + "[" * 10_000 + "]" * 10_000 + "}",
    "binary": b"\x00\xff\xfe\x80",
    "half": '{"step": 4, "sec',
    "empty": "",
    "no object": "[1, 2]",
    "no step": '{"seconds": 1.0}',
    "long": json.dumps(METRICS | {"x" * records.MAX_METRIC_LINE: 1}),
    "many digits": '{"step": 4, "seconds": ' + "1" * 5000 + "}",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_row_is_counted_and_told_once(line, tmp_path, capsys):
    run = make_run(tmp_path, [METRICS])
    text = LINES[line]
    text = text if isinstance(text, bytes) else text.encode()
    with run.metrics.open("ab") as file:
        file.write((text + b"\n") * 2 + json.dumps(METRICS | {"step": 9}).encode() + b"\n")
    rows, bad = metric_rows(run.metrics)
    assert [row["step"] for row in rows] == [3, 9] and bad == [2, 3]
    assert report([str(tmp_path)])["runs"][0]["steps"] == 9
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "2 lines are not the metrics of a step" in said
    # Training would write the file anew without them, and so it does not begin.
    before = run.metrics.read_bytes()
    with pytest.raises(ValueError, match="metrics.jsonl is damaged: line 2 is not the metrics"):
        MetricsWriter(run, 3)
    assert run.metrics.read_bytes() == before


def test_a_file_without_a_good_row_is_refused_by_name(tmp_path):
    run = make_run(tmp_path)
    for content in (b"\x00\xff" * 500, b"\x00\xff\n" * 500, b"[]\n"):
        run.metrics.write_bytes(content)
        if b"\n" in content:
            for read in (read_metrics, metric_rows, lambda _: report([str(tmp_path)])):
                with pytest.raises(ValueError, match="metrics.jsonl is damaged: line 1 is not"):
                    read(run.metrics)
        else:  # a first line being written
            assert metric_rows(run.metrics) == ([], [])


def test_of_evaluations_each_field_may_be_what_is_written_and_nothing_else(tmp_path):
    cases = list(changed(EVALUATED))
    run = make_run(tmp_path, rows=[EVALUATED, *(row for row, _ in cases)])
    rows, left_out = evaluation_rows(run.evaluations / "held_out.json")
    assert rows == [
        {**row, "benchmark": "held_out"} for row, good in [(EVALUATED, True), *cases] if good
    ]
    assert left_out == sum(not good for _, good in cases)


@pytest.mark.parametrize("field", EVALUATED)
def test_a_row_without_a_field_is_whole_or_left_out(field, tmp_path):
    without = {key: value for key, value in EVALUATED.items() if key != field}
    run = make_run(tmp_path, rows=[without])
    rows, left_out = evaluation_rows(run.evaluations / "held_out.json")
    needed = ("policy", "strategy", "budget", "problems")
    gone = field in (*needed, "accuracy")
    assert (len(rows), left_out) == ((0, field in needed) if gone else (1, 0))
    report([str(tmp_path)])
    model_card(tiny_experiment(), "base", 3, 10, evaluations_of(run, "base", 3))


def test_bad_rows_are_left_out_with_one_warning(tmp_path, capsys):
    bad = [row for row, good in changed(EVALUATED) if not good]
    made = make_run(tmp_path / "run", [METRICS], [EVALUATED, *bad, "text", None, 3])
    # No run is trained in such a folder, and yet one may be moved there.
    run = RunDirectory(made.path.rename(tmp_path / "run [1]"), create=False)
    other = {"benchmark": "b", "rows": [{"accuracy": 1}]}
    (run.evaluations / "b.json").write_text(json.dumps(other))
    found = report([str(run.path)])
    assert [row["accuracy"] for row in found["rows"]] == [0.5]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    left_out = len(bad) + 4
    assert f"{left_out} rows are no evaluations and are left out, of b.json, held_out.json" in said
    assert [row["accuracy"] for row in evaluations_of(run, "base", 3)] == [0.5]


@pytest.mark.parametrize("table", [3, [], {}, {"benchmark": 3}, {"benchmark": "x", "rows": {}}])
def test_a_file_that_is_no_evaluation_is_refused_by_name(table, tmp_path):
    run = make_run(tmp_path, rows=[])
    (run.evaluations / "held_out.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="held_out.json is damaged: it must hold rows of a bench"):
        evaluations_in(run.evaluations, print)


def test_what_is_beside_evaluations_is_left_alone(tmp_path):
    run = make_run(tmp_path, rows=[EVALUATED])
    (run.evaluations / ".held_out.json").write_text("{")
    (run.evaluations / "held_out.png").write_bytes(b"\x00")
    (run.evaluations / "training").mkdir()
    assert len(evaluations_in(run.evaluations, print)) == 1
    assert evaluations_in(tmp_path / "nothing", print) == []

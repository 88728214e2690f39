"""The place for results is tested before the work, and what cannot be saved is not lost."""

import pytest
from etils import epath

from rlsearch import figure
from rlsearch.results import check_writable, results_folder, results_in, saving
from rlsearch.runs.directory import RunDirectory, write_json, write_text


def test_a_folder_is_written_to_and_left_as_it_was(tmp_path):
    check_writable(epath.Path(tmp_path))
    check_writable(epath.Path(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot be written to .*/file/in \(.*--out$"):
        check_writable(epath.Path(tmp_path / "file" / "in"))


def test_a_bucket_is_tested_too(bucket):
    check_writable(bucket / "run" / "evaluations")
    assert not (bucket / "run" / "evaluations" / "x").exists()
    with results_in(bucket / "out", bucket / "run" / "evaluations") as results:
        write_json(RunDirectory(bucket / "run").evaluations / "x.json", {})
    assert (bucket / "out" / "x.json").read_text() == "{}\n" and not results.unsaved


def test_results_of_one_run_go_elsewhere_and_only_while_they_are_made(tmp_path):
    run, other, out = (epath.Path(tmp_path / name) for name in ("run", "other", "out"))
    own = run / "evaluations"
    assert RunDirectory(run).evaluations == own
    with results_in(out, own):
        assert RunDirectory(run).evaluations == out
        assert RunDirectory(other).evaluations == other / "evaluations"
    assert results_folder(own) == own


def test_what_cannot_be_saved_is_noted_if_it_is_a_result(tmp_path):
    out = tmp_path / "out"
    drawn, axes = figure.subplots(figsize=(1, 1))
    axes.set_axis_off()
    with results_in(out, tmp_path) as results:
        out.write_text("now it is a file")
        write_json(out / "a.json", {"a": 1})
        write_text(out / "training" / "b.txt", "b")
        figure.save(drawn, epath.Path(out / "c.png"))
        with saving(out / "e"):
            raise PermissionError(13, "Permission denied")
    names = ["a.json", "training/b.txt", "c.png", "e"]
    (tmp_path / "file").write_text("")
    with results_in(tmp_path / "out2", tmp_path), pytest.raises(OSError):
        write_json(tmp_path / "file" / "no_result.json", {})
    assert list(results.unsaved) == [str(out / name) for name in names]
    assert all("could not be saved: " in sentence for sentence in results.unsaved.values())
    with pytest.raises(OSError):
        write_json(out / "a.json", {})


def test_only_the_writing_may_fail(tmp_path):
    with results_in(tmp_path, tmp_path), pytest.raises(ValueError):
        write_json(tmp_path / "a.json", float("nan"))

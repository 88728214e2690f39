"""The benchmark's file. These tests need it; it is not in the repository."""

import os
import pathlib
import shutil

import pytest
import tensorflow_datasets as tfds

from rlsearch.data import game24

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get("RLSEARCH_TEST_DATA", ROOT.parent / "shared" / "data"))
SOURCE = DATA / "game24" / "24.csv"

needs_file = pytest.mark.skipif(
    not SOURCE.exists(), reason=f"{SOURCE} is not there: RLSEARCH_TEST_DATA names its data folder"
)


def _copy(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "24.csv"
    shutil.copyfile(SOURCE, path)  # without the mode, which may be read-only
    return path


@needs_file
def test_rows_are_the_file(tmp_path):
    _copy(tmp_path)
    rows = game24.benchmark_rows(str(tmp_path))
    lines = SOURCE.read_text().splitlines()[1:]
    assert rows == [tuple(sorted(map(int, line.split(",")[1].split()))) for line in lines]
    assert len(rows) == 1362 and rows[0] == (1, 1, 4, 6)


@needs_file
def test_prepared_once(tmp_path, monkeypatch, capsys):
    _copy(tmp_path)
    first = game24.benchmark_rows(str(tmp_path))
    assert (tmp_path / "prepared").is_dir()
    monkeypatch.setattr(game24.Game24, "_generate_examples", lambda *_: pytest.fail("again"))
    assert game24.benchmark_rows(str(tmp_path)) == first
    assert capsys.readouterr().out == ""  # standard output belongs to the command


@needs_file
def test_folder_that_must_not_be_written(tmp_path):
    (tmp_path / "game24").mkdir()
    _copy(tmp_path / "game24")
    tmp_path.chmod(0o555)
    try:
        assert len(game24.benchmark_rows(str(tmp_path))) == 1362
        assert [path.name for path in tmp_path.iterdir()] == ["game24"]
    finally:
        tmp_path.chmod(0o755)


@needs_file
def test_changed_file_is_refused(tmp_path):
    path = _copy(tmp_path)
    game24.benchmark_rows(str(tmp_path))  # what was prepared before does not excuse it
    path.write_text(path.read_text().replace("1 1 4 6", "1 1 4 7"))
    with pytest.raises(ValueError, match=f"24.csv has the SHA-256 .*{game24.SHA256}"):
        game24.benchmark_rows(str(tmp_path))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="task.data_dir is .*24.csv"):
        game24.benchmark_rows(str(tmp_path))


def test_no_network_and_no_folder(monkeypatch):
    def prepare(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(game24.Game24, "download_and_prepare", prepare)
    with pytest.raises(FileNotFoundError, match="24.csv could not be downloaded .*task.data_dir"):
        game24.benchmark_rows()


def test_wrong_download_is_refused_and_forgotten(tmp_path):
    class Downloads(tfds.download.DownloadManager):
        def __init__(self):
            pass

        def download(self, url_or_urls):
            (tmp_path / "page.html").write_text(f"not found: {url_or_urls}")
            return tmp_path / "page.html"

    builder = game24.Game24(data_dir=tmp_path / "prepared")
    with pytest.raises(ValueError, match="SHA-256"):
        builder._split_generators(Downloads())
    assert not (tmp_path / "page.html").exists()

"""The benchmark's file. These tests need it; it is not in the repository."""

import os
import pathlib
import shutil
import socket
import time

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


@pytest.mark.parametrize("network", ["no answer", "no port", "no name", "no end of looking up"])
def test_without_a_network_the_file_is_asked_for_within_seconds(network, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(game24, "SECONDS", 0.3)
    monkeypatch.setattr(game24.Game24, "__init__", _in_folder(tmp_path, game24.Game24.__init__))
    monkeypatch.setattr(
        game24.Game24, "download_and_prepare", lambda *_, **__: pytest.fail("it tries")
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(game24, "URL", f"http://127.0.0.1:{server.getsockname()[1]}/24.csv")
        if network == "no port":
            server.close()
        if network == "no name":
            monkeypatch.setattr(game24, "URL", "http://nowhere.invalid/24.csv")
        if network == "no end of looking up":
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
        began = time.monotonic()
        with pytest.raises(
            FileNotFoundError, match="into a folder of yours, as FOLDER/24.csv, and"
        ):
            game24.benchmark_rows()
    assert time.monotonic() - began < 2.5


def _in_folder(folder, init):
    """Datasets are prepared in a folder where there are none yet."""
    return lambda self, **given: init(self, **{**given, "data_dir": folder})


def test_a_file_that_is_no_regular_one_is_refused(tmp_path):
    os.mkfifo(tmp_path / "24.csv")
    with pytest.raises(ValueError, match="24.csv is a pipe"):
        game24.benchmark_rows(str(tmp_path))
    (tmp_path / "24.csv").unlink()
    with (tmp_path / "24.csv").open("wb") as file:
        file.truncate(2**40)  # of holes alone
    with pytest.raises(ValueError, match="at most 1048576 bytes"):
        game24.benchmark_rows(str(tmp_path))


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

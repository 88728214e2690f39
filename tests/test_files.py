"""The one reader: regular files of a bounded size, and one sentence about everything else."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest

from rlsearch import files
from rlsearch.files import parse_json, read_bytes, read_json, read_lines, read_text, size_of

READERS = {
    "bytes": lambda path: read_bytes(path, 1000, "a thing"),
    "text": lambda path: read_text(path, 1000, "a thing"),
    "json": lambda path: read_json(path, 1000, "a thing"),
    "lines": lambda path: list(read_lines(path, 1000, "a thing")),
    "size": lambda path: size_of(path, "a thing"),
}
SPECIAL = ("folder", "pipe", "socket", "device")


@contextlib.contextmanager
def special(kind, path):
    """Something at `path` that is no regular file."""
    with contextlib.ExitStack() as stack:
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            folder = os.open(path.parent, os.O_RDONLY)  # a socket's path is short
            stack.callback(os.close, folder)
            listening.bind(f"/proc/self/fd/{folder}/{path.name}")
        else:
            path.symlink_to("/dev/zero")
        yield


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind, reader):
    began = time.monotonic()
    with special(kind, tmp_path / "x"):
        with pytest.raises(ValueError, match=f"x is a {kind}: a thing must be a regular file"):
            READERS[reader](tmp_path / "x")
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_that_comes_in_between_does_not_hang(tmp_path, monkeypatch, reader):
    (tmp_path / "x").touch()
    os.mkfifo(tmp_path / "pipe")
    opened = os.open

    def swapped(path, *rest):
        return opened(tmp_path / "pipe" if path == str(tmp_path / "x") else path, *rest)

    # Were it waited for, this would end the waiting.
    writing = threading.Timer(1.0, lambda: open(tmp_path / "pipe", "r+b").close())
    writing.start()
    monkeypatch.setattr(files.os, "open", swapped)
    began = time.monotonic()
    with pytest.raises(ValueError, match="is a pipe"):
        READERS[reader](tmp_path / "x")
    writing.cancel()
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("reader", [name for name in READERS if name != "size"])
def test_a_file_beyond_the_limit_is_not_read(tmp_path, reader):
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(8 * 2**30)
    began = time.monotonic()
    with pytest.raises(ValueError, match="giant is too large for a thing: .* at most 1000 bytes"):
        READERS[reader](tmp_path / "giant")
    assert time.monotonic() - began < 2.0
    assert size_of(tmp_path / "giant", "a thing") == 8 * 2**30


@pytest.mark.parametrize("reader", [name for name in READERS if name != "size"])
def test_the_limit_holds_where_the_size_is_not_told(monkeypatch, tmp_path, reader):
    """As of a file that grows, or of a file system that says 0."""
    path = tmp_path / "grows"
    path.write_text("1\n" * 600)
    told = os.fstat

    def nothing_yet(descriptor):
        return os.stat_result((told(descriptor).st_mode, 0, 0, 0, 0, 0, 0, 0, 0, 0))

    monkeypatch.setattr(files.os, "fstat", nothing_yet)
    with pytest.raises(ValueError, match="grows is too large"):
        READERS[reader](path)
    path.write_text("[" + "1\n," * 300 + "1]")
    assert len(read_bytes(path, 1000, "a thing")) == 903


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("place", ["missing", "file/below", "broken"])
def test_a_file_that_is_not_there(tmp_path, place, reader):
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=f"there is no .*{place}"):
        READERS[reader](tmp_path / place)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("path", ["a\0b", "\ud800", "http://example.org/x", "weird://x", "x" * 999])
def test_what_is_no_path_gets_a_sentence(path, reader):
    with pytest.raises((ValueError, OSError)) as caught:
        READERS[reader](path)
    assert len(str(caught.value)) < 400 or "File name too long" in str(caught.value)
    assert "\0" not in str(caught.value)


def test_files_are_read_as_they_are(tmp_path, bucket):
    content = '\ufeff{"a": [1, 2.5, "ü"]}\n'.encode()
    for folder in (tmp_path, bucket):
        (folder / "x").write_bytes(content)
        assert read_bytes(folder / "x", len(content), "a thing") == content
        assert read_text(folder / "x", 100, "a thing") == content.decode()[1:]
        assert read_json(folder / "x", 100, "a thing") == {"a": [1, 2.5, "ü"]}
        assert size_of(folder / "x", "a thing") == len(content)
        for name, said in (("missing", "there is no"), ("", "is a folder")):
            with pytest.raises((FileNotFoundError, ValueError), match=said):
                read_bytes(folder / name, 10, "a thing")
        with pytest.raises(ValueError, match="too large for a thing"):
            read_bytes(folder / "x", len(content) - 1, "a thing")


def test_lines_are_bounded_one_by_one(tmp_path, bucket):
    for folder in (tmp_path, bucket):
        (folder / "x").write_bytes(b"one\n" + b"2" * 50 + b"\n\n" + b"4" * 10 + b"\nlast")
        lines = list(read_lines(folder / "x", 1000, "a thing", line_limit=11))
        assert lines == [b"one\n", None, b"\n", b"4" * 10 + b"\n", b"last"]


DEEP = 99 * "[" + "1" + 99 * "]"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (DEEP, True),
        (f"[[{DEEP}]]", False),
        ('{"a":' * 101 + "1" + "}" * 101, False),
        ("[" * 100_000, False),
        ("[" * 100_000 + "]" * 100_000, False),
        ("{", False),
        ("", False),
        (b"\xff\xfe\x00", False),
        (b"\x80abc", False),
        ("1" * 5000, False),  # Python reads no such number
        ("null", True),
    ],
)
def test_json_is_parsed_or_refused_in_one_line(tmp_path, text, good):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if good:
        assert parse_json(text) == json.loads(text) == read_json(path, 2**20, "a thing")
        return
    with pytest.raises(ValueError):
        parse_json(text)
    with pytest.raises(ValueError, match="x.json is damaged: it is not valid JSON") as caught:
        read_json(path, 2**20, "a thing")
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match="x is damaged: byte 3 is not UTF-8, which a thing must"):
        read_text(tmp_path / "x", 100, "a thing")

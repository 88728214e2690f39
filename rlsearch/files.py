"""Reading files that may come from anywhere: regular ones, of a bounded size, and nothing else.

A pipe would hang, a device has no end, and a file with holes in it takes no disk and all memory. So
each kind of file has a limit, which is checked before anything is read and again while it is. Local
paths and those of buckets (`gs://`) are read alike; a link is read as what it leads to.

`what` is always a few words for the sentence about a bad file: "a run's config". Like `paths.py`,
this file imports nothing of the rooms, so that every room may import it.

    read_bytes, read_text, read_json    the whole of a file
    read_lines                          one line after another, as of CSV and JSONL
    parse_json                          one text, such as a line
    size_of                             before a limit is known

All of them raise `FileNotFoundError` where there is no such file, `ValueError` in one sentence that
names the file where it is not as it must be, and the `OSError` of a file that cannot be read now.
"""

import contextlib
import io
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from etils import epath

from rlsearch.paths import is_remote

MAX_DEPTH = 100  # of lists and objects within each other
_CHUNK = 2**20  # bytes read at once
_MAX_SHOWN = 200  # characters of a path or a reason in a sentence
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: epath.PathLike, limit: int, what: str) -> bytes:
    """Reads a file of at most `limit` bytes."""
    with _opened(path, what) as (file, size):
        _refuse_large(path, size, limit, what)
        content = io.BytesIO()  # it may have grown since, and some file systems know no sizes
        while part := file.read(min(_CHUNK, limit + 1 - content.tell())):
            content.write(part)
    _refuse_large(path, content.tell(), limit, what)
    return content.getvalue()


def read_text(path: epath.PathLike, limit: int, what: str) -> str:
    """Reads a file of at most `limit` bytes of UTF-8; a byte order mark is left out."""
    try:
        return read_bytes(path, limit, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{_shown(path)} is damaged: byte {error.start} is not UTF-8, which {what} must be"
        ) from error


def read_json(path: epath.PathLike, limit: int, what: str) -> Any:
    """Reads a JSON file of at most `limit` bytes, with values at most `MAX_DEPTH` deep."""
    content = read_bytes(path, limit, what)
    try:
        return parse_json(content)
    except ValueError as error:
        reason = f"{error}"[:_MAX_SHOWN]
        raise ValueError(f"{_shown(path)} is damaged: it is not valid JSON ({reason})") from error


def parse_json(text: bytes | str) -> Any:
    """The value that a JSON text says.

    Raises:
        ValueError: it is not JSON, not UTF-8, or goes deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is over {MAX_DEPTH} values deep") from error
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError(f"it is over {MAX_DEPTH} values deep")


def read_lines(
    path: epath.PathLike, limit: int, what: str, line_limit: int = 2**20
) -> Iterator[bytes | None]:
    """Reads a file of at most `limit` bytes line by line, never more than one line at once.

    Yields:
        Each line with the newline at its end, which the last one may lack; None in the place of a
        line of over `line_limit` bytes.
    """
    with _opened(path, what) as (file, size):
        _refuse_large(path, size, limit, what)
        done = 0
        while line := file.readline(line_limit + 1):
            done += len(line)
            long = len(line) > line_limit
            while long and line and not line.endswith(b"\n") and done <= limit:
                line = file.readline(line_limit + 1)
                done += len(line)
            _refuse_large(path, done, limit, what)
            yield None if long else line


def size_of(path: epath.PathLike, what: str) -> int:
    """The size of a regular file in bytes."""
    with _opened(path, what) as (_, size):
        return size


@contextlib.contextmanager
def _opened(path: epath.PathLike, what: str) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file, open, and its size."""
    if is_remote(path):
        remote = _remote(path)
        if remote.is_dir():
            raise ValueError(f"{_shown(path)} is a folder: {what} must be a regular file")
        if not remote.exists():
            raise FileNotFoundError(f"there is no {_shown(path)}")
        with remote.open("rb") as file:
            yield file, remote.stat().length  # pyright: ignore[reportReturnType]
        return
    name = os.fspath(path)
    try:
        before = os.stat(name).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"there is no {_shown(path)}") from error
    except ValueError as error:  # a zero byte, or a character that the file system has not
        raise ValueError(f"{_shown(path)} is no path of a file system") from error
    _refuse_special(path, before, what)  # first of all: to open a device may set it going
    # Another file may have come to the place since then, and a pipe must not hang.
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        now = os.fstat(descriptor)
        _refuse_special(path, now.st_mode, what)
        yield file, now.st_size


def _remote(path: epath.PathLike) -> epath.Path:
    try:
        return epath.Path(path)
    except KeyError as error:  # epath has no backend for the scheme
        raise ValueError(
            f"{_shown(path)} is no path: it must be a local one, or begin with gs://"
        ) from error


def _refuse_special(path: epath.PathLike, mode: int, what: str) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise ValueError(f"{_shown(path)} is {kind}: {what} must be a regular file")


def _refuse_large(path: epath.PathLike, size: int, limit: int, what: str) -> None:
    if size > limit:
        raise ValueError(
            f"{_shown(path)} is too large for {what}: it must have at most {limit} bytes"
        )


def _shown(path: epath.PathLike) -> str:
    """A path for a sentence: its end tells most, and what is no text is escaped."""
    text = str(path)
    text = text if len(text) <= _MAX_SHOWN else f"...{text[3 - _MAX_SHOWN :]}"
    return text if text.isprintable() else ascii(text)

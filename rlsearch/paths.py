"""Paths of what a run writes: local ones and those of buckets (`gs://`), all through `epath`.

Every room may import this file.
"""

import os

from etils import epath

from rlsearch.text import shortened


def is_remote(path: epath.PathLike) -> bool:
    """Tells whether it is in a bucket: no file is appended to there, and no folder renamed in one
    go."""
    return "://" in str(path)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root, or from its bucket, whose name `resolve` takes for a folder's."""
    path = epath.Path(path)
    return path if is_remote(path) else path.resolve()


def exists(path: epath.PathLike) -> bool:
    """Tells whether there is something at the path; raises OSError where that cannot be told now.

    `epath`'s own says no then, and a run on a network's file system would be taken for a new one.
    """
    path = epath.Path(path)
    try:
        if is_remote(path):
            path.stat()
        else:
            os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def json_files(folder: epath.Path) -> list[epath.Path]:
    """The files of a folder that end in `.json`; its own name is no pattern, whatever is in it."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(file for file in inside if file.name.endswith(".json"))


def check_holds_checkpoints(path: epath.PathLike) -> None:
    """Refuses a folder in whose path the checkpoint library loses what it writes.

    It looks for its own files by a pattern that begins with the path, and takes a backslash for a
    slash: what was saved there could not be read again.

    Raises:
        ValueError: the path has such a character in it.
    """
    text = str(absolute(path))
    if any(char in text for char in "[]\\") or not text.isprintable():
        raise ValueError(
            f"the run's folder is {shortened(text)}: no checkpoint can be saved below a name with "
            "[, ], a backslash or a character that cannot be printed, so choose another --run-dir"
        )

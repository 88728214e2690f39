"""Paths of what a run writes: local ones and those of buckets (`gs://`), all through `epath`.

Like `config.py`, this file imports nothing of the package, so that every room may import it.
"""

import os

from etils import epath


def is_remote(path: epath.PathLike) -> bool:
    """Whether it is in a bucket: no file is appended to there, and no folder renamed in one go."""
    return "://" in str(path)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root, or from its bucket, whose name `resolve` takes for a folder's."""
    path = epath.Path(path)
    return path if is_remote(path) else path.resolve()


def exists(path: epath.PathLike) -> bool:
    """Whether there is something at the path; raises OSError where that cannot be told now.

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

"""The place of a command's results: it is tested first, and what was measured is never lost.

Measuring takes minutes, and writing what it found may fail: the run is another user's, the disk is
full. So a command tests the place before the work (`results_in`); while it works, a result that
cannot be saved is noted and told at the end, and what was found is printed all the same.

Like `paths.py`, this file imports nothing of the package, so that every room may import it.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath


class Results(NamedTuple):
    """The place of a command's results.

    Attributes:
        folder: where they are written.
        instead_of: the folder of the run that they are of; what is written there goes to `folder`.
        unsaved: a sentence for each file that could not be, by its path.
    """

    folder: epath.Path
    instead_of: epath.Path
    unsaved: dict[str, str]


# Of the command, not of a function: results are written by many, each of which names its files.
_current: contextvars.ContextVar[Results | None] = contextvars.ContextVar("results", default=None)


@contextlib.contextmanager
def results_in(folder: epath.PathLike, instead_of: epath.PathLike) -> Iterator[Results]:
    """Sends results to `folder` in place of a run's own folder for them, once it was written to.

    Raises:
        OSError: nothing can be written there; the message says what can be done.
    """
    results = Results(epath.Path(folder), epath.Path(instead_of), {})
    check_writable(results.folder)
    token = _current.set(results)
    try:
        yield results
    finally:
        _current.reset(token)


def results_folder(default: epath.Path) -> epath.Path:
    """Returns the folder that results go to in place of `default`, or `default` itself."""
    results = _current.get()
    return results.folder if results and results.instead_of == default else default


@contextlib.contextmanager
def saving(path: epath.PathLike) -> Iterator[None]:
    """Notes that a result at `path` could not be written, in place of losing what is in it.

    Of a file that is no result of the command, the error is raised.
    """
    results, path = _current.get(), epath.Path(path)
    try:
        yield
    except OSError as error:
        if results is None or results.folder not in path.parents:
            raise
        results.unsaved[str(path)] = f"{path} could not be saved: {error.strerror or error}"


def check_writable(folder: epath.Path) -> None:
    """Writes to a folder, making it where there is none, and leaves no trace of that.

    Raises:
        OSError: it cannot be written to.
    """
    probe = folder / f".writable.{os.getpid()}.tmp"
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
        if new:
            folder.rmdir()
    except OSError as error:
        # No more than OSError: that a folder is not found is not what the user did wrong.
        raise OSError(
            f"results cannot be written to {folder} ({error.strerror or error}): "
            "name another folder with --out"
        ) from error

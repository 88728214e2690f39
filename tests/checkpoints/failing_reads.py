"""A process of its own, every reading of which fails once, or from there on.

Its arguments are the folder of checkpoints and how many errors are tried at each reading. It is
begun with failing_reads.c preloaded, prints how many readings there were, and fails where one of
them was taken for damage.
"""

import ctypes
import errno
import os
import pathlib
import sys

import jax
import numpy as np

from rlsearch.checkpoints.store import CheckpointError, CheckpointStore

ERRORS = [
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "EACCES", "ENFILE", "EMFILE", "ETIMEDOUT", "ENOMEM")
]
ALWAYS = 2**31 - 1


def content(folder: pathlib.Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def main(folder: pathlib.Path, tried: int) -> None:
    reads = ctypes.CDLL(None)
    state = {"w": jax.numpy.arange(6.0), "key": jax.random.key(3), "step": 2}
    abstract = jax.eval_shape(lambda: {name: state[name] for name in ("w", "key")}) | {"step": 0}
    store = CheckpointStore(folder, keep=2, warn=lambda sentence: sys.exit(sentence))
    for step in (1, 2):
        store.save(step, state | {"step": step}, wait=True)
    names, before = sorted(os.listdir(folder)), content(folder)

    def attempt(first: int, last: int, number: int) -> int:
        """Restores while readings fail; returns how many readings there were."""
        what = f"{os.strerror(number)} at readings {first} to {last}"
        reads.fail(first, last, number)
        reads.watch(os.fsencode(folder))
        try:
            found = store.restore_latest(abstract)
        except CheckpointError as error:
            assert last, f"{error} without {what}"
            assert "cannot be read now" in str(error) and "\n" not in str(error), error
        else:
            assert found is not None and found[0] == 2, f"{found} with {what}"
            np.testing.assert_array_equal(found[1]["w"], state["w"])
            assert (found[1]["key"] == state["key"]).all() and found[1]["step"] == 2
        finally:
            reads.watch(b"")
        assert sorted(os.listdir(folder)) == names, what
        return reads.counted()

    total = attempt(1, 0, 0)
    for reading in range(1, total + 3):
        for turn in range(tried):
            number = ERRORS[(reading + turn) % len(ERRORS)]
            attempt(reading, reading, number)
            attempt(reading, ALWAYS, number)
    assert content(folder) == before
    print(total)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))

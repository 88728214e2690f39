"""Reading one checkpoint, where "cannot be read now" is no "damaged".

A network's file system fails for a moment, a process has too many files open, a disk is unplugged:
the checkpoint is as good as it was. Damaged is only what was read from the first byte to the last,
and is wrong nevertheless.
"""

import errno
import os
import stat
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from rlsearch.paths import is_remote


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message is one sentence for the user."""


class DamagedError(CheckpointError):
    """A checkpoint was read whole and is wrong."""


_CHUNK_BYTES = 1 << 20

# What is not there, or is of another kind, is so at the next reading too. Any other error of the
# operating system is of this moment, or of this process.
_LASTING = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)

# TensorStore gives the operating system's words and not its error class, or one of its own codes.
_PASSING_WORDS = (
    *(os.strerror(number) for number in errno.errorcode if number not in (*_LASTING, errno.EINVAL)),
    *("UNAVAILABLE:", "RESOURCE_EXHAUSTED:", "PERMISSION_DENIED:", "UNAUTHENTICATED:"),
    *("DEADLINE_EXCEEDED:", "ABORTED:", "CANCELLED:"),
)


def read_checkpoint(path: epath.Path, abstract: Any, partial: bool) -> Any:
    """Reads a checkpoint, or those leaves of it that `abstract` has.

    Args:
      path: its folder.
      abstract: see `CheckpointStore.restore`.
      partial: whether the checkpoint may hold more.

    Raises:
      ValueError: names or shapes of the checkpoint are others; it is not damaged.
      DamagedError: it was read whole and is wrong.
      CheckpointError: it cannot be read now, or holds more than folders and files.
    """
    where = f"checkpoint {path.name} in {path.parent}"
    abstract = jax.tree.map(_with_sharding, abstract)
    reason, difference = "", None
    # Twice, as Orbax takes a file that it could not look at for one that is not there.
    for _ in range(2):
        try:
            _check_plain(path, where)
            restored, failed = _read(path, abstract, partial)
            if failed is None and not partial and _is_instance(restored, abstract):
                return restored
            # What is not there, Orbax leaves abstract where only a part is asked for.
            difference = _difference(path, abstract, partial)
            if failed is None and difference is None and _is_instance(restored, abstract):
                return restored
            _read_whole(path)
        except CheckpointError:
            raise
        except Exception as error:
            if any(isinstance(cause, jax.errors.JaxRuntimeError) for cause in causes(error)):
                raise
            message = f"{where} cannot be read now, and is left as it is: {first_line(error)}"
            raise CheckpointError(message) from error
        # A lost file of types would make plain integers of typed keys.
        reason = first_line(failed) if failed else "types of arrays are lost"
    if difference is not None:
        raise ValueError(f"{where} is of another state: {difference}")
    raise DamagedError(f"{where} is damaged: {reason}")


def is_passing(error: BaseException) -> bool:
    """Tells whether an error says that something cannot be read now, and not that it is wrong."""
    for cause in causes(error):
        if isinstance(cause, MemoryError | jax.errors.JaxRuntimeError):
            return True
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno not in _LASTING:
            return True
        if any(word in str(cause) for word in _PASSING_WORDS):
            return True
    return False


def is_full_disk(error: Exception) -> bool:
    """Tells whether an error says, or was brought about by one that says, that there is no room
    left."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # TensorStore gives the operating system's words and not its error class.
        if "No space left on device" in str(cause) or "Disk quota exceeded" in str(cause):
            return True
    return False


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that brought it about."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """Shortens what an error says to a part of a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(" [tensorstore_spec")[0][:200]


def _read(path: epath.Path, abstract: Any, partial: bool) -> tuple[Any, Exception | None]:
    """Returns what Orbax reads, or the error that may be one of damage; others are raised."""
    context = ocp.Context()
    context.pytree.loading.partial_load = partial
    try:
        with context:
            return ocp.load(path, abstract), None
    except Exception as error:
        if is_passing(error):
            raise
        return None, error


def _with_sharding(leaf: Any) -> Any:
    """An abstract leaf as Orbax wants it: arrays never without a sharding."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _is_instance(tree: Any, abstract: Any) -> bool:
    def same(leaf: Any, expected: Any) -> bool:
        if isinstance(leaf, jax.ShapeDtypeStruct):  # was not read
            return False
        if not hasattr(expected, "dtype"):
            return not hasattr(leaf, "dtype")
        return getattr(leaf, "dtype", None) == expected.dtype and leaf.shape == expected.shape

    if jax.tree.structure(tree) != jax.tree.structure(abstract):
        return False
    return all(jax.tree.leaves(jax.tree.map(same, tree, abstract)))


def _check_plain(path: epath.Path, where: str) -> None:
    """Raises CheckpointError where there is more than folders and files: a pipe would be waited
    for, and a link lead out of the run."""
    if is_remote(path):
        return
    folders = [os.fspath(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    folders.append(entry.path)
                elif not stat.S_ISREG(mode):
                    raise CheckpointError(
                        f"{where} is left as it is and not read: {entry.path} is a link or a "
                        "device, and a checkpoint holds files and folders alone"
                    )


def _read_whole(path: epath.Path) -> None:
    """Reads every file to its end, for the errors that this may raise."""
    folders = [path]
    while folders:
        for entry in list(folders.pop().iterdir()):
            if entry.is_dir():
                folders.append(entry)
                continue
            with entry.open("rb") as file:
                while file.read(_CHUNK_BYTES):
                    pass


def _leaves(tree: Any) -> dict[str, Any]:
    """Leaves by their path, the same for an abstract state and for Orbax's metadata of it."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def _difference(path: epath.Path, abstract: Any, partial: bool) -> str | None:
    """Says how a checkpoint differs from an abstract state; None if not, or if it is damaged."""
    try:
        metadata = ocp.metadata(path).metadata
    except Exception as error:
        if is_passing(error):
            raise
        return None
    if metadata is None:
        return None
    stored, expected = _leaves(metadata), _leaves(abstract)
    missing = [name for name in expected if name not in stored]
    if missing:
        return f"it has no {missing[0]!r}"
    extra = [name for name in stored if name not in expected]
    if extra and not partial:
        return f"it has {extra[0]!r}, which is not expected"
    for name, leaf in expected.items():
        shape = getattr(stored[name], "shape", None)
        if shape is None or not hasattr(leaf, "shape"):
            continue
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            shape = shape[:-1]  # a typed key is stored as its words
        if tuple(shape) != tuple(leaf.shape):
            return f"{name!r} has shape {tuple(shape)}, and {tuple(leaf.shape)} is expected"
    return None

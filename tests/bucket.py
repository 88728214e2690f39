"""A bucket in memory, which every `gs://` path of the tests is in."""

import contextlib
from collections.abc import Iterator

import fsspec
from etils import epath
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem


class Bucket(MemoryFileSystem):
    """Takes the place of Google Cloud Storage: no folder is renamed in it in one go."""

    protocol = ("gs", "gcs")
    store = {}
    pseudo_dirs = [""]

    def __init__(self, *_, **__):
        super().__init__()

    @classmethod
    def _strip_protocol(cls, path) -> str:
        inside = str(path).removeprefix("gs://").removeprefix("gcs://").strip("/")
        return f"/{inside}" if inside else ""


@contextlib.contextmanager
def empty_bucket() -> Iterator[epath.Path]:
    """`gs://bucket`, empty, and gone afterwards."""
    fsspec.register_implementation("gcs", Bucket, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield epath.Path("gs://bucket")
    Bucket.store.clear()
    Bucket.pseudo_dirs[:] = [""]

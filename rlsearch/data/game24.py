"""The public Game of 24 benchmark, 24.csv, as a TFDS dataset.

1,362 puzzles, easiest first by how long people take: the file of Tree of Thoughts (Yao et al.
2023), from https://github.com/princeton-nlp/tree-of-thought-llm. It is read from a folder of the
user's, or downloaded, and nothing but that very file is accepted.
"""

import contextlib
import csv
import hashlib
import io
import os
import tempfile
import threading
import urllib.request

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from rlsearch.files import read_bytes

FILE_NAME = "24.csv"
MAX_FILE = 2**20  # bytes: of the public file there are under 100,000
SECONDS = 4.0  # within which the place of the file must answer
URL = (
    "https://raw.githubusercontent.com/princeton-nlp/tree-of-thought-llm/"
    "master/src/tot/data/24/24.csv"
)
SHA256 = "b9f12b3e36d987a3c714c4cef17d89a137d7c59da26532fcfb93b4821d8111b5"


class Game24(tfds.core.GeneratorBasedBuilder):
    """One split, `benchmark`: `rank` and `numbers [4]`, ascending, both int32.

    Args:
        source: the path of 24.csv; empty downloads it.
        data_dir: where TFDS keeps what it prepares; None is its own folder.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The 1,362 rows of the public file."}
    # TFDS would look for a file of checksums beside this one, and needs `importlib_resources` for
    # it, which it does not install. `_read_verified` holds the one file against its checksum.
    url_infos = {}

    def __init__(
        self, *, source: epath.PathLike = "", data_dir: epath.PathLike | None = None, **kwargs
    ):
        self._source = os.fspath(source)
        super().__init__(data_dir=data_dir, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Four numbers of 1 to 13 that make 24, and how hard people find them.",
            features=tfds.features.FeaturesDict(
                {
                    "rank": tfds.features.Scalar(np.int32),
                    "numbers": tfds.features.Tensor(shape=(4,), dtype=np.int32),
                }
            ),
            homepage="https://github.com/princeton-nlp/tree-of-thought-llm",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        path = epath.Path(self._source or dl_manager.download(URL))
        try:
            text = _read_verified(path)
        except ValueError:
            if not self._source:
                path.unlink()  # or TFDS would take the same wrong file the next time
            raise
        return {"benchmark": self._generate_examples(text)}

    def _generate_examples(self, text: str):
        for row in csv.DictReader(io.StringIO(text)):
            rank, numbers = int(row["Rank"]), sorted(map(int, row["Puzzles"].split()))
            yield rank, {"rank": rank, "numbers": np.array(numbers, np.int32)}


def benchmark_rows(data_dir: str = "") -> list[tuple[int, ...]]:
    """The 1,362 puzzles in the file's order, the numbers of each ascending.

    Args:
        data_dir: a folder that holds `24.csv` or `game24/24.csv`. What is prepared of it goes to
            `prepared` in that folder, or is not kept where that cannot be written. Empty: the
            file is downloaded, and TFDS keeps it in its own folder.

    Raises:
        FileNotFoundError: if the file is not there; or cannot be downloaded, which is said within
            `SECONDS`.
        ValueError: if it is another file than the public one.
    """
    with contextlib.ExitStack() as stack:
        source, prepared = "", None
        if data_dir:
            source = _find(data_dir)
            # TFDS reads the file only once; that it is the right one should hold every time.
            _read_verified(source)
            prepared = epath.Path(data_dir) / "prepared"
            if not _may_write(epath.Path(data_dir)):
                prepared = stack.enter_context(tempfile.TemporaryDirectory())
        builder = Game24(source=source, data_dir=prepared)
        try:
            if not source and not builder.data_path.exists():
                _reach(URL, SECONDS)  # TFDS would try again for minutes
            tfds.disable_progress_bar()  # it takes milliseconds
            with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; standard output is ours
                builder.download_and_prepare(file_format="array_record")
        except (tfds.download.DownloadError, OSError) as error:
            if source:
                raise
            raise FileNotFoundError(
                f"{FILE_NAME} could not be downloaded from {URL} ({_reason(error)}): "
                f"put the file into a folder of yours, as FOLDER/{FILE_NAME}, and name the folder "
                "in task.data_dir (--task.data_dir FOLDER; --data-dir FOLDER where a run is read)"
            ) from error
        # The decorator of TFDS hides the parameters from type checkers.
        examples = builder.as_data_source(split="benchmark")  # pyright: ignore[reportCallIssue]
        rows = sorted((int(row["rank"]), tuple(row["numbers"].tolist())) for row in examples)
    return [numbers for _, numbers in rows]


def _reach(url: str, seconds: float) -> None:
    """Waits until a server has answered that it has something.

    Raises:
        OSError: if it answers otherwise, or not within `seconds`.
    """
    failed: list[BaseException | None] = [TimeoutError(f"no answer within {seconds} seconds")]

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds):
                failed[0] = None
        except Exception as error:
            failed[0] = error

    # A thread, as looking up a name takes as long as it takes, whatever the time that is allowed.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed[0] is not None:
        raise OSError(f"{url} cannot be reached") from failed[0]


def _reason(error: BaseException) -> str:
    """The first cause of an error in a few words: all that libraries say of it may be long."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = getattr(error, "reason", error)  # which urllib wraps
    said = getattr(reason, "strerror", None)
    return said if isinstance(said, str) and said.isprintable() else type(reason).__name__


def _find(data_dir: str) -> epath.Path:
    folder = epath.Path(data_dir)
    places = (folder / FILE_NAME, folder / "game24" / FILE_NAME)
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"task.data_dir is {data_dir!r}: neither {places[0]} nor {places[1]} exists; "
        f"the file is at {URL}"
    )


def _read_verified(path: epath.Path) -> str:
    content = read_bytes(path, MAX_FILE, "the benchmark of Game of 24")
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{path} has the SHA-256 {found}: it must be the public file, whose SHA-256 is {SHA256}"
        )
    return content.decode()


def _may_write(folder: epath.Path) -> bool:
    """Tells whether `folder` can be written, and means to: root may write where nobody should."""
    if not os.path.isdir(folder):
        return True  # a bucket: only trying would tell
    mode = folder.stat().mode
    return os.access(folder, os.W_OK) and (mode is None or bool(mode & 0o222))

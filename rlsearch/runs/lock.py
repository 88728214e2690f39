"""The lock of a run's directory: one training at a time writes there.

RUN/train.lock says which process trains, as JSON, and is written anew with every heartbeat. A
training that ends removes it. One that is killed leaves it behind, and the next one takes it over:
at once where it runs on the same machine and sees that the process is gone, else when the file has
not changed for as long as several heartbeats take. No clock is compared with that of another
machine to decide it, and nothing is asked of a file system but to create a file if there is none.
In a bucket not even that: there the lock is written, and is held if it reads the same afterwards.
"""

import contextlib
import datetime
import errno
import json
import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from etils import epath

from rlsearch.paths import is_remote

NAME = "train.lock"
HEARTBEAT_SECONDS = 10.0
LIMIT = 6  # so many heartbeats that fail to come say that a process of another machine is gone
_SETTLE_SECONDS = 0.2  # in which another process that writes at the same moment has written
_BYTES = 1024  # of a lock's file


class RunInUseError(RuntimeError):
    """Another process trains the run; the message is one sentence for the user."""


class Holder(NamedTuple):
    """A process that trains a run, as the lock's file tells of it.

    Attributes:
      token: drawn by chance, as a process may hold the lock twice in its life.
      host: name of the machine.
      machine: its start and the space of its process numbers; "" where that is not known.
      pid: number of the process.
      started: when the process did, in the kernel's own count; "" where that is not known.
      since: time (UTC) at which the lock was taken.
      heartbeat: time (UTC) of the newest heartbeat, for the reader; a changed one is a new one.
    """

    token: str
    host: str
    machine: str
    pid: int
    started: str
    since: str
    heartbeat: str


class RunLock:
    """Holds the lock of a run while it is entered.

    Of several processes that train together one takes it for all.
    """

    def __init__(
        self,
        run: epath.PathLike,
        tell: Callable[[str], None],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ):
        """Names the lock, and takes none.

        Args:
          run: the run's directory, which exists; may be `gs://`.
          tell: is given one sentence where it takes time to see whether a process is gone.
          heartbeat_seconds: between two heartbeats; the same for all that train the run.
        """
        self._path = epath.Path(run) / NAME
        self._tell = tell
        self._seconds = heartbeat_seconds
        self._mine: Holder | None = None
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None
        self._lost: str | None = None  # the sentence of the error, where another has taken over

    def __enter__(self) -> "RunLock":
        """Takes the lock.

        Raises:
          RunInUseError: another process holds it.
          OSError: the file cannot be written, or not be read.
        """
        try:
            self._take(self._wait_for_the_last())
            self._ended.clear()
            self._beating = threading.Thread(target=self._beat, name=NAME, daemon=True)
            self._beating.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._beating is not None:
            self._beating.join()
        with contextlib.suppress(Exception):  # it is stale then, and the next one sees that
            holder = _parse(_read(self._path))
            if holder is not None and self._is_mine(holder):
                self._path.unlink(missing_ok=True)
        self._mine = self._beating = None

    def check(self) -> None:
        """Raises RunInUseError if another process has taken the lock over.

        As it may where this one stood still for longer than the limit, a suspended machine's.
        """
        if self._lost is not None:
            raise RunInUseError(self._lost)

    def _wait_for_the_last(self) -> str | None:
        """The lock that a process has left behind, or None; raises RunInUseError if one has it."""
        seen = _read(self._path)
        holder = _parse(seen)
        gone = None if holder is None else is_gone(holder)
        if holder is not None and gone is False:
            raise RunInUseError(self._in_use(holder))
        patience = 0.0 if seen is None or gone else LIMIT * self._seconds
        if patience:
            self._tell(f"{self._path} is there: for {patience:.3g} s it is watched for heartbeats")
        deadline = time.monotonic() + patience
        while seen is not None and time.monotonic() < deadline:
            time.sleep(min(self._seconds / 4, 1.0))
            now = _read(self._path)
            holder = _parse(now)
            if holder is not None and now != seen:
                raise RunInUseError(self._in_use(holder))
            seen = None if now is None else seen
        return seen

    def _take(self, seen: str | None) -> None:
        """Writes this process where there is nothing, or still the stale lock that was `seen`."""
        self._mine = _this_process()
        if seen is None and not is_remote(self._path):
            try:
                _write(self._path, self._mine, os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                raise self._refused() from None
            return
        if _read(self._path) != seen:
            raise self._refused()
        _write(self._path, self._mine, os.O_CREAT)
        time.sleep(_SETTLE_SECONDS)
        holder = _parse(_read(self._path))
        if holder is None or not self._is_mine(holder):
            raise self._refused()

    def _refused(self) -> RunInUseError:
        holder = _parse(_read(self._path))
        if holder is None:
            return RunInUseError(f"another training of {self._path.parent} begins or ends just now")
        return RunInUseError(self._in_use(holder))

    def _in_use(self, holder: Holder) -> str:
        return (
            f"{self._path.parent} is being trained by process {holder.pid} on {holder.host} since "
            f"{holder.since[:19]} UTC: one training at a time writes there; if that process is "
            f"gone, delete {self._path}"
        )

    def _is_mine(self, holder: Holder) -> bool:
        return self._mine is not None and holder.token == self._mine.token

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds):
            # Whatever fails here may work at the next heartbeat; training does not depend on it.
            with contextlib.suppress(Exception):
                self._beat_once()

    def _beat_once(self) -> None:
        assert self._mine is not None
        holder = _parse(_read(self._path))
        if holder is not None and not self._is_mine(holder):
            self._lost = f"this training has stood still for too long: {self._in_use(holder)}"
            self._ended.set()
            return
        self._mine = self._mine._replace(heartbeat=_now())
        _write(self._path, self._mine, os.O_CREAT)


def is_gone(holder: Holder) -> bool | None:
    """Tells whether a process has ended; None of another machine's, as that cannot be seen from
    here."""
    here = _this_process()
    if (holder.host, holder.machine) != (here.host, here.machine):
        return None
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's
        pass
    state, started = _state_and_start(holder.pid)
    if state in ("Z", "X"):  # it has ended, and its parent has not asked how
        return True
    return bool(started and holder.started) and started != holder.started


def _this_process() -> Holder:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        machine = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        machine = ""
    now, pid = _now(), os.getpid()
    _, started = _state_and_start(pid)
    return Holder(secrets.token_hex(8), socket.gethostname(), machine, pid, started, now, now)


def _state_and_start(pid: int) -> tuple[str, str]:
    """State and start of a process of this machine, as Linux writes them; "" where it does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # behind the name, in which anything may be
    return fields[0], fields[19]


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S.%f}"


def _write(path: epath.Path, holder: Holder, flags: int) -> None:
    """Writes a lock in place: a network's file system shows a reader the file that it opens, and
    may show a new one of the same name only later. All locks are equally long: a disk that is
    full has room for the next heartbeat."""
    text = json.dumps(holder._asdict(), indent=1).ljust(_BYTES - 1) + "\n"
    if is_remote(path):
        path.write_text(text)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.truncate()
        file.flush()
        os.fsync(descriptor)


def _read(path: epath.Path) -> str | None:
    """Reads the lock's file; None where there is none."""
    try:
        if is_remote(path):
            with path.open("rb") as file:
                return file.read(2 * _BYTES).decode(errors="replace")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "this must be a file", os.fspath(path))
    with os.fdopen(descriptor, "rb") as file:
        return file.read(2 * _BYTES).decode(errors="replace")


def _parse(text: str | None) -> Holder | None:
    """Whom a lock's file tells of; None where it is not whole."""
    try:
        found = json.loads(text or "")
        holder = Holder(**found)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (value for name, value in found.items() if name != "pid")
    if not all(isinstance(value, str) and value.isprintable() for value in texts):
        return None
    return holder if type(holder.pid) is int and 0 < holder.pid < 2**31 else None

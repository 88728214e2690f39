"""The meeting of a run's processes before JAX connects them: process 0 learns who is missing.

JAX's runtime waits in silence and then aborts. So process 0 listens first at the address at which
JAX will: the others say who they are, and hear when all are there. Then JAX, which takes the same
port, finds them all. Messages are lines of ASCII; nothing else is read, and of each only the first.
"""

import contextlib
import re
import selectors
import socket
import sys
import time
from typing import BinaryIO

TELL_SECONDS = 12.0  # after which it is said who is missing, and again after 4 times as many
LIMIT_SECONDS = 300.0  # after which nobody waits any longer

_JOIN, _WELCOME, _BEGIN = "rlsearch join", "rlsearch welcome", "rlsearch begin"
_REFUSED = "rlsearch refused"
_LINE = 200  # bytes, at most


def meet(address: str, count: int, index: int, bind: str, advice: str) -> None:
    """Returns when all processes of a run are here.

    Args:
        address: host:port of process 0.
        count: of the processes.
        index: of this one.
        bind: host:port at which process 0 listens; without a host on all of its interfaces.
        advice: ends the sentence of a process that gives up.

    Raises:
        RuntimeError: if a process has not come in time, if process 0 cannot listen, or if it takes
            this process for none of its run.
    """
    clock = _Clock(advice)
    if index == 0:
        _Meeting(address, count).wait(bind, clock)
    else:
        _come(address, count, index, clock)


class _Clock:
    """The time since the beginning; says when it is time to tell, and when it is over."""

    def __init__(self, advice: str):
        self._began, self._tell_at, self._advice = time.monotonic(), TELL_SECONDS, advice

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def left(self) -> float:
        """Seconds until something is to be told, or it is over."""
        return max(0.0, min(self._tell_at, LIMIT_SECONDS) - self.seconds())

    def check(self, sentence: str) -> None:
        """Tells the sentence when it is time.

        Raises:
            RuntimeError: of it, if time is up.
        """
        seconds = self.seconds()
        if seconds >= LIMIT_SECONDS:
            raise RuntimeError(f"{sentence} within {LIMIT_SECONDS:.0f} s{self._advice}")
        if seconds >= self._tell_at:
            self._tell_at = seconds + 4 * TELL_SECONDS
            tell(f"{sentence} within {seconds:.0f} s; the limit is {LIMIT_SECONDS:.0f} s")


def tell(sentence: str) -> None:
    """Warns on standard error."""
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


class _Meeting:
    """Process 0, which waits for the others."""

    def __init__(self, address: str, count: int):
        self._address, self._count = address, count
        self._selector = selectors.DefaultSelector()
        self._here: dict[int, socket.socket] = {}  # by index
        self._heard: dict[socket.socket, bytes] = {}  # of those that have not said who they are

    def wait(self, bind: str, clock: _Clock) -> None:
        """Returns when all are here, and have been told."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            listener = stack.enter_context(_listen(bind, self._address))
            self._selector.register(listener, selectors.EVENT_READ)
            while len(self._here) < self._count - 1:
                for key, _ in self._selector.select(clock.left()):
                    if key.fileobj is listener:
                        self._accept(listener)
                    elif isinstance(key.fileobj, socket.socket):
                        self._hear(key.fileobj)
                if len(self._here) < self._count - 1:
                    clock.check(self._missing())
            for one in self._here.values():
                _say(one, _BEGIN)

    def _missing(self) -> str:
        missing = [index for index in range(1, self._count) if index not in self._here]
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        plural = "es" if len(missing) > 1 else ""
        return (
            f"{len(self._here) + 1} of {self._count} processes have joined at {self._address}; "
            f"process{plural} {shown} did not come"
        )

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one, _ = listener.accept()
            one.setblocking(False)
            if len(self._heard) > self._count + 64:  # a process says at once who it is
                self._drop(next(iter(self._heard)))
            self._heard[one] = b""
            self._selector.register(one, selectors.EVENT_READ)

    def _hear(self, one: socket.socket) -> None:
        try:
            new = one.recv(_LINE)
        except BlockingIOError:
            return
        except OSError:
            new = b""
        if one not in self._heard:  # it has joined: it says no more, but may leave
            if not new:
                self._here = {i: other for i, other in self._here.items() if other is not one}
                self._drop(one)
            return
        self._heard[one] += new
        line, ended, _ = self._heard[one].partition(b"\n")
        if ended:
            self._let_in(one, line.decode("ascii", "replace"))
        elif not new or len(line) >= _LINE:
            self._drop(one)

    def _let_in(self, one: socket.socket, line: str) -> None:
        said = re.fullmatch(rf"{_JOIN} (\d{{1,9}}) of (\d{{1,9}})", line)
        index, count = map(int, said.groups()) if said else (0, 0)
        if not said:
            self._drop(one)
        elif count != self._count:
            self._refuse(one, f"it has {self._count} processes, and not {count}")
        elif not 0 < index < count or index in self._here:
            self._refuse(one, f"process {index} of {count} is there already")
        else:
            del self._heard[one]
            self._here[index] = one
            _say(one, _WELCOME)

    def _refuse(self, one: socket.socket, why: str) -> None:
        _say(one, f"{_REFUSED} {why}")
        self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        self._heard.pop(one, None)
        self._selector.unregister(one)
        one.close()

    def _close(self) -> None:
        for one in (*self._here.values(), *self._heard):
            one.close()
        self._selector.close()


def _listen(bind: str, address: str) -> socket.socket:
    host, port = _split(bind)
    try:
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, port), family=family, backlog=1024)
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise RuntimeError(
            f"process 0 cannot listen at {address}, at which the others will look for it "
            f"({error.strerror}): another run may be there; JAX_COORDINATOR_PORT chooses another "
            "port on a cluster, and JAX_COORDINATOR_ADDRESS elsewhere"
        ) from error


def _come(address: str, count: int, index: int, clock: _Clock) -> None:
    """Finds process 0, and waits with it for the others. It tells who is missing, so this does not.

    Raises:
        RuntimeError: if it is not there in time, or refuses this process.
    """
    delay = 0.05
    while True:
        try:
            with socket.create_connection(_split(address), timeout=5.0) as one:
                one.sendall(f"{_JOIN} {index} of {count}\n".encode())
                with one.makefile("rb") as lines:
                    line = _read(lines)
                    if line == _WELCOME:  # process 0 gives up first, and is heard
                        one.settimeout(max(1.0, LIMIT_SECONDS + 5.0 - clock.seconds()))
                        line = _read(lines)
            if line == _BEGIN:
                return
            if line.startswith(_REFUSED):
                raise RuntimeError(
                    f"the run at {address} refuses process {index} of {count}: "
                    f"{line.removeprefix(_REFUSED).strip()}"
                )
            why = "another program is there" if line else "it ended"
        except OSError as error:
            why = error.strerror or str(error)
        clock.check(f"process {index} of {count} did not reach process 0 at {address} ({why})")
        time.sleep(delay)
        delay = min(1.0, 1.5 * delay)


def _say(one: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):
        one.sendall(f"{line}\n".encode())


def _read(lines: BinaryIO) -> str:
    return lines.readline(_LINE).decode("ascii", "replace").rstrip("\n")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)

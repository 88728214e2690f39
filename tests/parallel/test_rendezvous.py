import re
import socket
import threading
import time

import pytest

from rlsearch.parallel import rendezvous
from tests.launch.two_processes import free_port


@pytest.fixture
def patience(monkeypatch):
    """Sets when it is told who is missing, and when they are given up."""

    def change(tell, limit):
        monkeypatch.setattr(rendezvous, "TELL_SECONDS", tell)
        monkeypatch.setattr(rendezvous, "LIMIT_SECONDS", limit)

    return change


class Comer(threading.Thread):
    """A process, as a thread, with how it ended."""

    def __init__(self, port, count, index):
        super().__init__(daemon=True)
        self.given = f"localhost:{port}", count, index, f"localhost:{port}", "; set X"
        self.error = ""
        self.start()

    def run(self):
        try:
            rendezvous.meet(*self.given)
        except RuntimeError as error:
            self.error = str(error)

    def ended(self):
        self.join(20)
        assert not self.is_alive()
        return self.error


def reach(port):
    """A connection to the process 0 that is about to listen."""
    for _ in range(200):
        try:
            return socket.create_connection(("localhost", port))
        except OSError:
            time.sleep(0.05)
    raise AssertionError(port)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_who_come_meet_in_any_order(order, capsys):
    port, comers = free_port(), []
    for index in order:
        comers.append(Comer(port, 3, index))
        time.sleep(0.05)
        assert all(comer.is_alive() for comer in comers) or len(comers) == 3
    assert [comer.ended() for comer in comers] == ["", "", ""]
    assert capsys.readouterr().err == ""
    # JAX listens at the same port at once.
    socket.create_server(("localhost", port)).close()


def test_who_is_missing_is_told_and_then_given_up(patience, capsys):
    patience(0.3, 0.9)
    port = free_port()
    first = Comer(port, 4, 0)
    reach(port).close()
    second = Comer(port, 4, 2)
    sentence = f"2 of 4 processes have joined at localhost:{port}; processes 1, 3 did not come"
    assert first.ended() == f"{sentence} within 1 s; set X"
    assert "did not reach process 0" in second.ended()
    told = [line for line in capsys.readouterr().err.splitlines() if "have joined" in line]
    assert told == [f"warning: {sentence} within 0 s; the limit is 1 s"]


def test_the_defaults_tell_within_20_seconds():
    assert rendezvous.TELL_SECONDS < 20 < rendezvous.LIMIT_SECONDS


def test_a_process_0_that_does_not_come_is_told(patience, capsys):
    patience(0.1, 0.3)
    port = free_port()
    error = Comer(port, 2, 1).ended()
    assert error.startswith(f"process 1 of 2 did not reach process 0 at localhost:{port} (")
    assert error.endswith("s; set X")
    assert f"warning: {error.partition(' within')[0]}" in capsys.readouterr().err


def test_one_that_leaves_while_it_waits_is_missing_again(patience):
    patience(9.0, 0.6)
    port = free_port()
    first = Comer(port, 3, 0)
    with reach(port) as one:
        one.sendall(b"rlsearch join 1 of 3\n")
        assert one.recv(99) == b"rlsearch welcome\n"
    assert "processes 1, 2 did not" in first.ended()


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        error = Comer(port, 2, 0).ended()
    assert error.startswith(f"process 0 cannot listen at localhost:{port}") and "JAX_COORD" in error


@pytest.mark.parametrize(
    ("count", "index", "why"),
    [(2, 1, "it has 3 processes, and not 2"), (3, 1, "process 1 of 3 is there already")],
)
def test_a_process_of_another_run_is_refused(count, index, why):
    port = free_port()
    run = [Comer(port, 3, 0)]
    with reach(port) as one:
        one.sendall(b"rlsearch join 1 of 3\n")
        assert one.recv(99) == b"rlsearch welcome\n"
        error = Comer(port, count, index).ended()
    assert error.startswith(f"the run at localhost:{port} refuses process {index} of {count}")
    assert why in error
    run += [Comer(port, 3, 1), Comer(port, 3, 2)]
    assert [comer.ended() for comer in run] == ["", "", ""]


def test_strangers_keep_nobody_from_meeting():
    port = free_port()
    first = Comer(port, 2, 0)
    strangers = [reach(port)]
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"x" * 9999, b"\xff\n", b"rlsearch join 0 of 2\n"):
        strangers.append(socket.create_connection(("localhost", port)))
        strangers[-1].sendall(said)
    for _ in range(200):
        strangers.append(socket.create_connection(("localhost", port)))
    second = Comer(port, 2, 1)
    assert (first.ended(), second.ended()) == ("", "")
    for stranger in strangers:
        stranger.close()


def test_a_program_that_is_no_process_0_is_named(patience):
    patience(9.0, 0.3)
    with socket.create_server(("localhost", 0)) as other:
        comer = Comer(other.getsockname()[1], 2, 1)
        one, _ = other.accept()
        with one:
            one.sendall(b"SSH-2.0\n")
        while comer.is_alive():
            other.settimeout(0.1)
            try:
                one, _ = other.accept()
            except TimeoutError:
                continue
            with one:
                one.sendall(b"SSH-2.0\n")
    assert re.search(r"did not reach process 0 at .* \(another program is there\)", comer.ended())

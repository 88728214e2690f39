"""One process trains a run: with real processes, SIGKILL among them."""

import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from rlsearch.runs import lock as lock_module
from rlsearch.runs.lock import LIMIT, NAME, RunInUseError, RunLock

SECONDS = 0.05  # between heartbeats
HOLDER = str(pathlib.Path(__file__).parent / "hold_lock.py")


def take(run, seconds=SECONDS) -> RunLock:
    return RunLock(run, lambda sentence: None, seconds)


def start(run) -> subprocess.Popen:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, HOLDER, str(run), str(SECONDS)],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def holding(run):
    """A process that holds the lock of a run."""
    process = start(run)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def rewrite(run, **changed) -> str:
    """Changes the lock of a run as another process might have written it."""
    path = run / NAME
    text = json.dumps(json.loads(path.read_text()) | changed)
    path.write_text(text)
    return text


def test_the_second_is_refused_and_the_third_is_not(tmp_path):
    with holding(tmp_path) as first:
        process = start(tmp_path)
        out, err = process.communicate()
        assert (process.returncode, out) == (1, "")
        assert re.fullmatch(
            rf"error: {tmp_path} is being trained by process {first.pid} on \S+ since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: one training at a time writes there; "
            rf"if that process is gone, delete {tmp_path}/{NAME}\n",
            err,
        )
        with pytest.raises(RunInUseError, match=f"process {first.pid} on"), take(tmp_path):
            pass
        assert first.communicate("") == ("", "") and first.returncode == 0
    assert list(tmp_path.iterdir()) == []
    with take(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_killed_one_is_followed_at_once(tmp_path):
    with holding(tmp_path) as first:
        kill(first)
    assert (tmp_path / NAME).exists()
    began = time.monotonic()
    with take(tmp_path, seconds=60.0) as lock:
        assert time.monotonic() - began < 10.0
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_ended_and_was_not_asked_how_is_gone(tmp_path):
    with holding(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        with take(tmp_path, seconds=60.0):
            pass


def test_a_number_that_is_used_again_is_another_process(tmp_path):
    with holding(tmp_path) as first:
        kill(first)
    rewrite(tmp_path, pid=os.getppid(), started="12")
    with take(tmp_path, seconds=60.0):
        pass


def test_one_that_stands_still_on_this_machine_holds_it(tmp_path):
    with holding(tmp_path) as first:
        first.send_signal(signal.SIGSTOP)
        time.sleep(2 * LIMIT * SECONDS)
        with pytest.raises(RunInUseError, match="one training at a time"), take(tmp_path):
            pass


@pytest.mark.parametrize("changed", ["host", "machine"])
def test_one_of_another_machine_is_known_by_its_heartbeats(tmp_path, changed):
    with holding(tmp_path) as first:
        kill(first)
    left = rewrite(tmp_path, **{changed: "another"})
    beats = iter(range(100))

    def beat(_):
        rewrite(tmp_path, heartbeat=f"2001-01-01 {next(beats)}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock_module.time, "sleep", beat)
        with pytest.raises(RunInUseError, match=f"process {first.pid} on"), take(tmp_path):
            pass
    assert next(beats) == 1  # it was told so at the first one
    (tmp_path / NAME).write_text(left)
    told, began = [], time.monotonic()
    with RunLock(tmp_path, told.append, SECONDS) as lock:
        assert LIMIT * SECONDS <= time.monotonic() - began < 10 * LIMIT * SECONDS + 5.0
        lock.check()
    assert len(told) == 1 and "0.3 s" in told[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [False, True])
def test_of_many_at_once_one_has_it(tmp_path, left):
    if left:
        with holding(tmp_path) as first:
            kill(first)
    processes = [start(tmp_path) for _ in range(5)]
    # None ends before all have been told: a line of the one that holds it, and none of the others.
    said = [process.stdout.readline() for process in processes if process.stdout]
    errors = [process.communicate("")[1] for process in processes]
    assert sorted(said) == [""] * 4 + ["held\n"], errors
    assert sum(process.returncode for process in processes) == 4
    assert all(
        ("error: " in error) != (line == "held\n") for line, error in zip(said, errors, strict=True)
    )
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_taken_over_notices(tmp_path):
    with take(tmp_path) as lock:
        text = rewrite(tmp_path, token="another", pid=1, host="there")
        deadline = time.monotonic() + 10.0
        with pytest.raises(RunInUseError, match="stood still for too long: .* process 1 on there"):
            while time.monotonic() < deadline:
                lock.check()
                time.sleep(SECONDS)
    assert (tmp_path / NAME).read_text() == text  # it is the other's to remove


def test_a_lock_that_was_deleted_comes_again(tmp_path):
    with take(tmp_path) as lock:
        before = json.loads((tmp_path / NAME).read_text())
        (tmp_path / NAME).unlink()
        deadline = time.monotonic() + 10.0
        while not (tmp_path / NAME).exists() and time.monotonic() < deadline:
            time.sleep(SECONDS)
        time.sleep(SECONDS)
        after = json.loads((tmp_path / NAME).read_text())
        assert after["heartbeat"] != before["heartbeat"] and after["token"] == before["token"]
        lock.check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_every_way_out_releases_it(tmp_path, error):
    with pytest.raises(error), take(tmp_path):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_that_fails_stops_nothing(tmp_path, monkeypatch):
    write, failed = lock_module._write, []

    def failing(*arguments):
        if (tmp_path / NAME).exists():
            failed.append(arguments)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)

    monkeypatch.setattr(lock_module, "_write", failing)
    with take(tmp_path) as lock:
        deadline = time.monotonic() + 10.0
        while len(failed) < 2:
            assert time.monotonic() < deadline, "no heartbeats"
            time.sleep(SECONDS / 10)
        lock.check()
    assert list(tmp_path.iterdir()) == []


CONTENTS = {
    "nothing": b"",
    "bytes": b"\xff\x00" * 1000,
    "deep": b"[" * 100_000,
    "a list": b"[1]",
    "other names": b'{"pid": 1}',
    "all processes": b'{"pid": -1, "host": "", "token": "", "machine": "", "started": "", '
    b'"since": "", "heartbeat": ""}',
    "escapes": b'{"pid": 1, "host": "\\u001b[2J", "token": "", "machine": "", "started": "", '
    b'"since": "", "heartbeat": ""}',
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_lock_that_says_nothing_is_watched_and_then_taken(tmp_path, name):
    (tmp_path / NAME).write_bytes(CONTENTS[name])
    began = time.monotonic()
    with take(tmp_path, seconds=0.02):
        assert time.monotonic() - began >= LIMIT * 0.02
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_a_lock_that_is_no_file_is_one_error(tmp_path, kind):
    path, elsewhere = tmp_path / NAME, tmp_path / "elsewhere"
    {
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(elsewhere),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    with pytest.raises(OSError) as caught, take(tmp_path):
        pass
    assert caught.value.filename == str(path) and caught.value.strerror
    assert os.path.lexists(path) and not elsewhere.exists()


def test_in_a_bucket_it_is_held_if_it_reads_the_same_afterwards(bucket, monkeypatch):
    run = bucket / "run"
    run.mkdir(parents=True)
    with take(run) as lock:
        with pytest.raises(RunInUseError, match=f"gs://bucket/run .* process {os.getpid()} on"):
            with take(run):
                pass
        time.sleep(3 * SECONDS)
        lock.check()
    assert not (run / NAME).exists()
    with take(run):
        other = (run / NAME).read_text().replace('"pid"', '"pid" ')
    other = json.dumps(json.loads(other) | {"token": "another", "pid": 7})
    monkeypatch.setattr(lock_module.time, "sleep", lambda _: (run / NAME).write_text(other))
    with pytest.raises(RunInUseError, match="process 7 on"), take(run):
        pass
    assert (run / NAME).read_text() == other


def test_one_that_comes_between_looking_and_taking_has_it(tmp_path, monkeypatch):
    read, seen = lock_module._read, iter([None])
    with holding(tmp_path) as first:
        monkeypatch.setattr(lock_module, "_read", lambda path: next(seen, read(path)))
        with pytest.raises(RunInUseError, match=f"process {first.pid} on"), take(tmp_path):
            pass
        assert json.loads((tmp_path / NAME).read_text())["pid"] == first.pid

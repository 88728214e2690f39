import io
import re
import threading

import pytest

from rlsearch.training import progress as progress_module
from rlsearch.training.progress import Progress, Working
from tests.names import HOSTILE


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_a_log_gets_a_line_every_ten_seconds(clock):
    stream = io.StringIO()
    with Progress(60, "distilled", stream) as progress:
        for step in range(20, 41):
            progress.update(step, loss=1.2345, best_of="4 of 5")
            clock.now += 3.25
    assert stream.getvalue().splitlines() == [
        "distilled 20/60  loss 1.23  best of 4 of 5",
        "distilled 24/60  0.308 steps/s  1:57 left  loss 1.23  best of 4 of 5",
        "distilled 28/60  0.308 steps/s  1:44 left  loss 1.23  best of 4 of 5",
        "distilled 32/60  0.308 steps/s  1:31 left  loss 1.23  best of 4 of 5",
        "distilled 36/60  0.308 steps/s  1:18 left  loss 1.23  best of 4 of 5",
        "distilled 40/60  0.308 steps/s  1:05 left  loss 1.23  best of 4 of 5",
    ]


def test_the_last_update_is_always_printed_once(clock):
    stream = io.StringIO()
    with Progress(10_000, "base", stream) as progress:
        progress.update(0)
        clock.now += 1
        progress.update(2, solved=7)
    assert stream.getvalue().splitlines() == [
        "base 0/10000",
        "base 2/10000  2 steps/s  1:23:19 left  solved 7",
    ]


def test_nothing_is_printed_without_an_update():
    stream = io.StringIO()
    with Progress(10, "base", stream):
        pass
    assert stream.getvalue() == ""


def test_a_note_is_a_line_of_its_own():
    stream = io.StringIO()
    with Progress(10, "base", stream) as progress:
        progress.note("base: slow today")
        progress.update(1)
    assert stream.getvalue() == "base: slow today\nbase 1/10\n"


def test_a_terminal_gets_a_bar(clock):
    stream = Terminal()
    with Progress(60, "distilled", stream) as progress:
        progress.note("[0.5] is no markup")
        progress.update(20)
        clock.now += 10
        progress.update(40, loss=1.2345)
    shown = stream.getvalue()
    assert "distilled" in shown and "40/60" in shown and "[0.5] is no markup" in shown
    assert "2 steps/s  0:10 left  loss 1.23" in shown


def test_standard_output_is_left_alone(capsys):
    with Progress(3, "base") as progress:
        progress.update(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "base 1/3\n"


def test_what_comes_first_is_said_at_once(clock):
    for stream in (io.StringIO(), Terminal()):
        with Progress(60, "base", stream) as progress:
            progress.begin("compiling the first step")
            assert "compiling the first step" in stream.getvalue() or stream.isatty()
            progress.update(1)
        assert "compiling the first step" in stream.getvalue()
    stream = io.StringIO()
    Progress(60, "base", stream, shown=False).begin("compiling")
    assert stream.getvalue() == ""


def test_what_is_soon_over_is_not_shown(clock):
    for stream in (io.StringIO(), Terminal()):
        with Progress(4, "runs read", stream, after=2.0) as progress:
            for number in range(1, 5):
                progress.update(number)
        assert stream.getvalue() == ""
        with Progress(4, "runs read", stream, after=2.0) as progress:
            for number in range(1, 5):
                clock.now += 1.0
                progress.update(number)
        assert "runs read" in stream.getvalue() and "4/4" in stream.getvalue()
    assert "0:0" in stream.getvalue()


def test_names_are_text(clock):
    for name in HOSTILE.values():
        stream = io.StringIO()
        with Progress(60, name, stream) as progress:
            progress.begin(name)
            progress.note(name)
            progress.update(1, **{name: name})
        shown = stream.getvalue()
        assert shown.count("\n") == 3 and shown.replace("\n", "").isprintable()
        terminal = Terminal()
        with Progress(60, name, terminal) as progress:
            progress.update(1, **{name: name})
        assert "\x1b[2J" not in terminal.getvalue() and "\x00" not in terminal.getvalue()


def test_work_of_unknown_length_is_said_to_go_on(monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.05)
    stream, said, told = io.StringIO(), [], threading.Event()
    write = stream.write
    monkeypatch.setattr(stream, "write", lambda text: (write(text), told.set())[0])
    with Working("evaluating", said.append, stream) as working:
        assert told.wait(10)
        working.say("base 50%", 0.25)
        told.clear()
        assert told.wait(10)
    lines = stream.getvalue().splitlines()
    assert said == ["base 50%"]
    assert lines[0] == "evaluating  0:00 so far" and lines[-1].startswith("evaluating: 1 result,")
    assert re.match(r"evaluating: 1 result, 25%, 0:0\d left  0:0\d so far", lines[-1])
    assert threading.active_count() == 1 or working._thread.is_alive() is False


def test_a_terminal_has_a_clock_that_makes_room_for_lines():
    stream = Terminal()
    with Working("evaluating [x]", lambda line: stream.write(f"{line}\n"), stream) as working:
        working.say("base 50%")
    assert "evaluating [x]" in stream.getvalue() and "base 50%\n" in stream.getvalue()

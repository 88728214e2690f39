"""The progress of a command: a bar in a terminal, a line every ten seconds in a log file."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress

from rlsearch.text import for_terminal

_SECONDS_BETWEEN_LINES = 10.0
_MAX_WORDS = 60  # characters of a description, or of a value


class Progress:
    """Shows steps done, rate, time left and a few numbers; a context manager.

    It writes to standard error, so that standard output is left to the command's result. The rate
    is that of the steps since the first update, which so does not count compilation.
    """

    def __init__(
        self,
        total: int,
        description: str,
        stream: TextIO | None = None,
        shown: bool = True,
        after: float = 0.0,
    ):
        """Begins to show.

        Args:
          total: number of steps at the end.
          description: what is being done, a word or two.
          stream: where to; by default standard error.
          shown: False for all processes of a run but one.
          after: seconds before which nothing is shown, of what mostly takes no longer.
        """
        self._shown = shown
        self._total = total
        self._description = for_terminal(description, _MAX_WORDS)
        self._quiet_until = time.monotonic() + after
        self._stream = sys.stderr if stream is None else stream
        self._first: tuple[int, float] | None = None  # step and time of the first update
        self._line = f"{self._description} 0/{total}"  # of the newest update
        self._printed = True  # whether that line has been
        self._printed_at = -float("inf")
        self._bar: RichProgress | None = None
        if shown and self._stream.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[shown]}", markup=False),
                console=Console(file=self._stream),
                redirect_stdout=False,  # rich would send what is printed to standard error
            )
            self._task = self._bar.add_task(self._description, total=total, shown="")

    def __enter__(self) -> "Progress":
        if self._bar is not None and not self._quiet():
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self._printed and not self._quiet():
            self._print()

    def _quiet(self) -> bool:
        return time.monotonic() < self._quiet_until

    def begin(self, doing: str, done: int = 0) -> None:
        """Shows at once how many steps are done, and what comes first, such as compiling."""
        if not self._shown:
            return
        doing = for_terminal(doing, _MAX_WORDS)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, shown=doing)
            self._bar.refresh()
        else:
            line = f"{self._description} {done}/{self._total}  {doing}"
            print(line, file=self._stream, flush=True)

    def update(self, step: int, **shown: float | str) -> None:
        """Shows that `step` steps are done.

        Args:
          step: number of steps done.
          shown: numbers and words to show by name; of the host, since reading one from a device
            would wait for it.
        """
        if not self._shown:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        parts = [*self._speed(step, now), *(_show(name, value) for name, value in shown.items())]
        if self._bar is not None:
            self._bar.update(self._task, completed=step, shown="  ".join(parts))
            if not self._quiet():
                self._bar.start()  # which it may be already
            return
        self._line = "  ".join([f"{self._description} {step}/{self._total}", *parts])
        self._printed = False
        if now - self._printed_at >= _SECONDS_BETWEEN_LINES and not self._quiet():
            self._print()

    def note(self, line: str) -> None:
        """Shows a line of its own, now."""
        if not self._shown:
            return
        line = for_terminal(line)
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=self._stream, flush=True)

    def _speed(self, step: int, now: float) -> list[str]:
        assert self._first is not None
        first_step, first_time = self._first
        if step <= first_step or now <= first_time:
            return []
        rate = (step - first_step) / (now - first_time)
        return [f"{rate:.3g} steps/s", f"{_clock((self._total - step) / rate)} left"]

    def _print(self) -> None:
        print(self._line, file=self._stream, flush=True)
        self._printed = True
        self._printed_at = time.monotonic()


class Working:
    """Shows that a command is at work that finds one thing after another; a context manager.

    A terminal has a clock, and a log a line whenever ten seconds have passed without one. What the
    command finds by and by is told to `say`, and is printed as it comes. Where that tells how much
    is done, the time left stands beside the clock.
    """

    def __init__(self, description: str, say: Callable[[str], None], stream: TextIO | None = None):
        """Begins to show with `with`.

        Args:
          description: what is being done, a word or two.
          say: prints a line of what was found.
          stream: where the clock is shown; by default standard error.
        """
        self._description = for_terminal(description, _MAX_WORDS)
        self._say = say
        self._stream = sys.stderr if stream is None else stream
        self._began = self._told_at = self._found_at = time.monotonic()
        self._found = 0
        self._done: float | None = None  # share of the work, in [0, 1]
        self._over = threading.Event()
        self._bar: RichProgress | None = None
        if self._stream.isatty():
            self._bar = RichProgress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=Console(file=self._stream),
                redirect_stdout=False,
                transient=True,
            )
            self._task = self._bar.add_task(self._description, total=None)

    def __enter__(self) -> "Working":
        if self._bar is not None:
            self._bar.start()
        else:
            self._thread = threading.Thread(target=self._remind, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.stop()
        else:
            self._thread.join()

    def say(self, line: str, done: float | None = None) -> None:
        """Prints a line of what was found.

        Args:
            done: the share of the work behind it, in [0, 1]; None where that is not known.
        """
        self._found += 1
        self._done, self._found_at = done, time.monotonic()
        with self._hidden():
            self._say(line)
        self._told_at = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, description=self._status())

    def _status(self) -> str:
        found = f": {self._found} result{'s' * (self._found != 1)}" if self._found else ""
        left = ""
        if self._done:
            seconds = (self._found_at - self._began) * (1 / self._done - 1)
            seconds -= time.monotonic() - self._found_at
            left = f", {100 * self._done:.0f}%, {_clock(seconds)} left"
        return self._description + found + left

    @contextlib.contextmanager
    def _hidden(self) -> Iterator[None]:
        """Takes the clock away while something else is printed to the same terminal."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def _remind(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN_LINES / 10):
            now = time.monotonic()
            if now - self._told_at >= _SECONDS_BETWEEN_LINES:
                self._told_at = now
                line = f"{self._status()}  {_clock(now - self._began)} so far"
                print(line, file=self._stream, flush=True)


def _show(name: str, value: float | str) -> str:
    name = for_terminal(name.replace("_", " "), _MAX_WORDS)
    if isinstance(value, float):
        return f"{name} {value:.3g}"
    return f"{name} {for_terminal(value, _MAX_WORDS)}"


def _clock(seconds: float) -> str:
    """1:05 for 65 seconds, 2:03:04 from an hour on."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"

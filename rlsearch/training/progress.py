"""How far a command is: a bar in a terminal, a line every ten seconds in a log file."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows steps done, rate, time left and a few numbers; a context manager.

    It writes to standard error, so that standard output is left to the command's result. The rate
    is that of the steps since the first update, which so does not count compilation.
    """

    def __init__(
        self, total: int, description: str, stream: TextIO | None = None, shown: bool = True
    ):
        """Begins to show.

        Args:
          total: number of steps at the end.
          description: what is being done, a word or two.
          stream: where to; by default standard error.
          shown: False for all processes of a run but one.
        """
        self._shown = shown
        self._total = total
        self._description = description
        self._stream = sys.stderr if stream is None else stream
        self._first: tuple[int, float] | None = None  # step and time of the first update
        self._line = ""  # of the newest update
        self._printed = True  # whether that line has been
        self._printed_at = -float("inf")
        self._bar: RichProgress | None = None
        if shown and self._stream.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[shown]}"),
                console=Console(file=self._stream),
                redirect_stdout=False,  # rich would send what is printed to standard error
            )
            self._task = self._bar.add_task(description, total=total, shown="")

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self._printed:
            self._print()

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
            return
        self._line = "  ".join([f"{self._description} {step}/{self._total}", *parts])
        self._printed = False
        if now - self._printed_at >= _SECONDS_BETWEEN_LINES:
            self._print()

    def note(self, line: str) -> None:
        """Shows a line of its own, now."""
        if not self._shown:
            return
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


def _show(name: str, value: float | str) -> str:
    name = name.replace("_", " ")
    return f"{name} {value}" if isinstance(value, str | int) else f"{name} {value:.3g}"


def _clock(seconds: float) -> str:
    """1:05 for 65 seconds, 2:03:04 from an hour on."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"

"""Leaving a training on SIGTERM or SIGINT: at the end of a step, with all that was done saved."""

import contextlib
import os
import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class TrainingStopped(KeyboardInterrupt):
    """A training was asked to stop, and has saved what it did; the same config resumes it.

    Attributes:
      step: the number of steps that are done and saved.
      total: of all stages together.
      signal: the one that asked.
    """

    def __init__(self, step: int, total: int, signal: signal.Signals):
        super().__init__(f"step {step} of {total} is saved")
        self.step, self.total, self.signal = step, total, signal


class StopRequest:
    """While it is entered, SIGTERM and SIGINT ask to stop; a second SIGINT acts as it ever did.

    A second SIGTERM does nothing: schedulers repeat it, and have SIGKILL for the rest. A signal
    that was ignored, as SIGINT is in a script's background, is ignored still.

    With several processes one that is asked is enough: JAX's preemption service tells the others,
    and names a step that none of them has passed. It watches for SIGTERM itself.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None  # the one that came
        self.at: int | None = None  # the step at which it was time to stop
        self._before = {}  # handlers, by signal

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            several = jax.process_count() > 1
            for number in (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    handler = self._pass_on if several else self._on
                    self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def reached(self, step: int) -> bool:
        """Tells whether to stop now that `step` steps are done; all processes ask it after every
        step."""
        if jax.process_count() == 1:
            reached = self.signal is not None
        else:
            reached = multihost_utils.reached_preemption_sync_point(step)
        if reached:
            self.at, self.signal = step, self.signal or signal.SIGTERM
        return reached

    def _on(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is not None:
            return
        self.signal = signal.Signals(number)
        signal.signal(signal.SIGINT, self._before.get(signal.SIGINT, signal.SIG_IGN))
        # Not by `print`, which may be what the signal has interrupted.
        with contextlib.suppress(OSError):
            name = self.signal.name
            os.write(2, f"\n{name}: saving after this step; SIGINT leaves at once\n".encode())

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._on(number, frame)
        os.kill(os.getpid(), signal.SIGTERM)

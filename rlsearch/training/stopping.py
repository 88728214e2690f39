"""Signals to a training: it stops at the end of a step with all saved, or saves and goes on.

SIGTERM, SIGINT (Ctrl-C) and SIGHUP (a terminal that was closed) ask to stop; the exit code is 128
and the number of the signal, as a shell has it: 143, 130 and 129. SIGUSR1, by which schedulers warn
of a time limit, asks for a checkpoint at once, behind which the training goes on.
"""

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
    """While it is entered, signals ask to stop or to save; a second SIGINT acts as it ever did.

    A second SIGTERM or SIGHUP does nothing: schedulers repeat them, and have SIGKILL for the rest.
    A signal that was ignored, as SIGINT is in a script's background and SIGHUP behind `nohup`, is
    ignored still.

    With several processes one that is asked is enough. JAX's preemption service tells the others to
    stop, and names a step that none of them has passed; it watches for SIGTERM itself. To save is
    agreed upon by a vote.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None  # the one that came
        self.at: int | None = None  # the step at which it was time to stop
        self._save = False
        self._before = {}  # handlers, by signal

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            several = jax.process_count() > 1
            stop = self._pass_on if several else self._on
            handlers = {signal.SIGINT: stop, signal.SIGHUP: stop, signal.SIGUSR1: self._on_save}
            if not several:
                handlers[signal.SIGTERM] = stop
            for number, handler in handlers.items():
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
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

    def wants_save(self) -> bool:
        """Takes SIGUSR1's request for a checkpoint, if it has come since the call before."""
        wanted, self._save = self._save, False
        return wanted

    def _on(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is not None:
            return
        self.signal = signal.Signals(number)
        if self.signal is signal.SIGHUP:
            _forget_lost_terminal()
        signal.signal(signal.SIGINT, self._before.get(signal.SIGINT, signal.SIG_IGN))
        _say(f"{self.signal.name}: saving after this step; SIGINT leaves at once")

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._on(number, frame)
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_save(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._save = True
        _say(f"{signal.Signals(number).name}: saving soon, and going on")


def _say(sentence: str) -> None:
    """Not by `print`, which may be what the signal has interrupted."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{sentence}\n".encode())


def _forget_lost_terminal() -> None:
    """Lets nothing fail, least of all saving, for having no terminal to print to."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)

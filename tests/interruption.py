"""Cutting a training off in front of one of its steps."""

import os
import signal
import sys

from rlsearch.training import loop


class InterruptionError(Exception):
    """Stands for whatever ends a training before its time."""


def at_terminal(*command: str) -> list[str]:
    """The command of a process that a closed terminal or Ctrl+C ends, whatever tests run behind:
    `nohup` has SIGHUP ignored, `&` in a script SIGINT, and all that is started inherits it."""
    script = "import os, signal, sys; "
    script += "[signal.signal(x, signal.SIG_DFL) for x in (signal.SIGHUP, signal.SIGINT)]; "
    return [sys.executable, "-S", "-c", script + "os.execv(sys.argv[1], sys.argv[1:])", *command]


def limit_steps(monkeypatch, limit: int | None) -> None:
    """Makes every later `train` fail in front of step `limit` of that start; None: of no step."""
    make_step = getattr(loop.make_step, "unlimited", loop.make_step)
    taken = []

    def limited(*arguments):
        step = make_step(*arguments)

        def one(*state):
            if len(taken) == limit:
                raise InterruptionError
            taken.append(state)
            return step(*state)

        return one

    limited.unlimited = make_step
    monkeypatch.setattr(loop, "make_step", limited)


def signal_in_step(monkeypatch, number: int, sent: signal.Signals) -> None:
    """Makes every later `train` get a signal in the midst of step `number` of that start."""
    make_step = getattr(loop.make_step, "unlimited", loop.make_step)
    taken = []

    def signalled(*arguments):
        step = make_step(*arguments)

        def one(*state):
            taken.append(state)
            if len(taken) == number:
                os.kill(os.getpid(), sent)
            return step(*state)

        return one

    signalled.unlimited = make_step
    monkeypatch.setattr(loop, "make_step", signalled)

"""Cutting a training off in front of one of its steps."""

import os
import signal

from rlsearch.training import loop
from rlsearch.training.step import make_step


class InterruptionError(Exception):
    """Stands for whatever ends a training before its time."""


def limit_steps(monkeypatch, limit: int) -> None:
    """Makes every later `train` fail in front of step `limit` of that start."""
    taken = []

    def limited(*arguments):
        step = make_step(*arguments)

        def one(state, key):
            if len(taken) == limit:
                raise InterruptionError
            taken.append(key)
            return step(state, key)

        return one

    monkeypatch.setattr(loop, "make_step", limited)


def signal_in_step(monkeypatch, number: int, sent: signal.Signals) -> None:
    """Makes every later `train` get a signal in the midst of step `number` of that start."""
    taken = []

    def signalled(*arguments):
        step = make_step(*arguments)

        def one(state, key):
            taken.append(key)
            if len(taken) == number:
                os.kill(os.getpid(), sent)
            return step(state, key)

        return one

    monkeypatch.setattr(loop, "make_step", signalled)

"""Cutting a training off in front of one of its steps."""

from rlsearch.training import loop
from rlsearch.training.step import make_step


class InterruptionError(Exception):
    """Stands for whatever ends a training before its time."""


def limit_steps(monkeypatch, limit: int) -> None:
    """Makes every later `train` fail in front of step `limit` of that start."""
    taken = []

    def limited(*arguments):
        step = make_step(*arguments)

        def one(*state):
            if len(taken) == limit:
                raise InterruptionError
            taken.append(state)
            return step(*state)

        return one

    monkeypatch.setattr(loop, "make_step", limited)

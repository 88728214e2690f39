"""Cutting a training off in front of one of its steps."""

from rlsearch.training import loop


class InterruptionError(Exception):
    """Stands for whatever ends a training before its time."""


def limit_steps(monkeypatch, limit: int | None) -> None:
    """Makes every later `train` fail in front of step `limit` of that start; None: of no step."""
    make_step = getattr(loop.make_step, "unlimited", loop.make_step)
    taken = []

    def limited(*arguments):
        step = make_step(*arguments)

        def one(state, key):
            if len(taken) == limit:
                raise InterruptionError
            taken.append(key)
            return step(state, key)

        return one

    limited.unlimited = make_step
    monkeypatch.setattr(loop, "make_step", limited)

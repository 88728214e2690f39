"""Traces of training steps, for JAX's profiler."""

from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from rlsearch.config import ProfileConfig


class StepTrace:
    """Takes steps, and writes a trace of those that a config asks for; a context manager.

    The operations in it carry the scopes that they were traced in: `collect` with `search` in it,
    `update`, and in both `network`.
    """

    def __init__(self, config: ProfileConfig, directory: epath.PathLike):
        """Writes to `directory`, in the layout that TensorBoard's profiler plugin reads."""
        self._steps = range(config.steps[0], config.steps[1] + 1) if config.steps else range(0)
        self._directory = str(directory)
        self._running = False

    def take(self, number: int, step: Callable, state: Any, *arguments: Any) -> Any:
        """`step(state, *arguments)`, which is the run's step `number`, from 1 on."""
        if number not in self._steps:
            return step(state, *arguments)
        if not self._running:
            jax.block_until_ready(state)  # the steps before are not to be in it
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # every Python call would be, and bury the rest
            jax.profiler.start_trace(self._directory, profiler_options=options)
            self._running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            result = step(state, *arguments)
        if number == self._steps[-1]:
            jax.block_until_ready(result)
            self._stop()
        return result

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()  # where a stage ends within what was asked for, or fails

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()

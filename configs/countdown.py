"""Countdown: make a number from four others. As game24, on unlimited problems.

    rlsearch train countdown && rlsearch evaluate runs/countdown

A beginning: goals from 1 to 100 ask for more than the training of game24 teaches. With 64
generations a problem every strategy solves 0 to 3 of the 100 held-out ones (distilled policy,
training seed 0, without the control, 2026-11-25); pre-training has to be longer. What those figures
do say is what they take: all eleven strategies together 136 seconds of one CPU core, compilation
left out (`rlsearch evaluate runs/countdown --suite test-time-compute --budgets 64 --seeds 0`).
"""

import dataclasses
from pathlib import Path

from rlsearch.config import Experiment, TaskConfig
from rlsearch.config_file import load

game24 = load(str(Path(__file__).with_name("game24.py")))
assert isinstance(game24, Experiment)

config = dataclasses.replace(
    game24,
    name="countdown",
    task=TaskConfig(cls="rlsearch.tasks.countdown:Countdown", largest=25),
)

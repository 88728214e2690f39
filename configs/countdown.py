"""Countdown: make a number from four others. As game24, on unlimited problems.

    rlsearch train countdown && rlsearch evaluate runs/countdown

One CPU core, 50 minutes of pre-training and 9 of distillation: a tree that draws with a budget of
64 solves 69.5% of 200 held-out problems with policy `base`. Every strategy, compute-optimal
selection, distillation, and pre-training against inference: docs/results.md, "Countdown".
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.tasks.countdown import Countdown

game24 = load(str(Path(__file__).with_name("game24.py")))
base, distilled = game24.stages

config = dataclasses.replace(
    game24,
    name="countdown",
    task=Countdown(num_held_out=500, largest=25),
    stages=(
        dataclasses.replace(base, num_steps=3000),
        dataclasses.replace(distilled, num_steps=80),
    ),
)

"""Countdown: make a number from four others. As game24, on unlimited problems.

rlsearch train countdown && rlsearch evaluate runs/countdown
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

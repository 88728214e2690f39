"""Countdown: make a number from four others. As game24, on unlimited problems.

    rlsearch train countdown && rlsearch evaluate runs/countdown

Policy `base` (3,000 steps of pre-training, 76 minutes of one CPU core; training seed 0), 100
held-out problems, mean of evaluation seeds 0 and 1, in percent, the 95% interval about 9 points to
either side (2026-11-25; `rlsearch evaluate runs/countdown --suite test-time-compute --policies base
--budgets 4 16 32 64 --seeds 0 1`). Distillation has not been measured at this size.

    budget              4      16      32      64
    majority vote     12.0    16.0    17.0    18.0
    best-of-N         25.0    37.0    44.5    44.0
    beam search       17.0    29.5    33.5    32.5
    tree search       15.5    39.5    40.0    43.5
    MCTS-rollout      23.5    46.0    49.5    39.5

Compute-optimal reaches best-of-64's 44.0 with 15 generations where difficulty is predicted, and not
at all by oracle difficulty (42.0 at 32), with ten problems to choose a strategy on.

All eleven strategies at 64 generations took 136 seconds of one CPU core together, compilation left
out (`--budgets 64 --seeds 0`, with the weights of a shorter training).
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
    task=TaskConfig(cls="rlsearch.tasks.countdown:Countdown", num_held_out=500, largest=25),
    pretrain=dataclasses.replace(game24.pretrain, num_steps=3000),
    control=dataclasses.replace(game24.control, enabled=False),
)

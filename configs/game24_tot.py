"""Game of 24 on the public benchmark split of tree-of-thought-llm: rows 900 to 999 held out.

    rlsearch train game24_tot --data-dir DIR
    rlsearch evaluate runs/game24_tot --data-dir DIR

DIR holds 24.csv; without it the file is downloaded. The method is that of game24, for longer, and
without the control. Measured with another search only: search.num_simulations 24, num_candidates 12
and distill.decisions_per_search 1 (2026-11-22, one CPU core, 1:44 hours; training seed 0, three
evaluation seeds; 95% intervals over the 100 puzzles):

    policy      greedy            best-of-64        tree search, budget 64
    base         9.0 (5 to 16)    60.3 (51 to 69)   69.3 (60 to 78)
    distilled   35.0 (26 to 45)   70.7 (61 to 79)   74.3 (65 to 82)
"""

import dataclasses
from pathlib import Path

from rlsearch.config import ControlConfig, Experiment, TaskConfig
from rlsearch.config_file import load

game24 = load(str(Path(__file__).with_name("game24.py")))
assert isinstance(game24, Experiment)

config = dataclasses.replace(
    game24,
    name="game24_tot",
    task=TaskConfig(split="tot"),
    pretrain=dataclasses.replace(game24.pretrain, num_steps=1500),
    distill=dataclasses.replace(game24.distill, num_steps=1000),
    control=ControlConfig(enabled=False),
)

"""Game of 24 on the public benchmark split of tree-of-thought-llm: rows 900 to 999 held out.

    rlsearch train game24_tot --data-dir DIR
    rlsearch evaluate runs/game24_tot --data-dir DIR

DIR holds 24.csv; without it the file is downloaded. The method is that of game24, for longer, and
without the control.
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

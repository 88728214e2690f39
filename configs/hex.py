"""Hex on 11 by 11 cells by self-play, as go_9x9.

    rlsearch train hex
    rlsearch arena runs/hex --simulations 0 16 64 --rollouts --games 12

One CPU core, shared with other work, 14:30 minutes: 920 Elo over random play at 64 simulations.
Other players and intervals: docs/results.md, "Other games".
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.environments.pgx_game import PgxGame

go_9x9 = load(str(Path(__file__).with_name("go_9x9.py")))
(self_play,) = go_9x9.stages

config = dataclasses.replace(
    go_9x9,
    name="hex",
    stages=(dataclasses.replace(self_play, environment=PgxGame(game="hex")),),
)

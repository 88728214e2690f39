"""Othello by self-play.

    rlsearch train othello
    rlsearch arena runs/othello --simulations 0 16 64 --rollouts --games 16

One CPU core, shared with other work, 15 minutes: 1,501 Elo over random play at 64 simulations.
Other players and intervals: docs/results.md, "Other games".
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.environments.pgx_game import PgxGame

go_9x9 = load(str(Path(__file__).with_name("go_9x9.py")))
(self_play,) = go_9x9.stages
environment = PgxGame(game="othello")

config = dataclasses.replace(
    go_9x9,
    name="othello",
    stages=(dataclasses.replace(self_play, environment=environment, num_steps=600),),
)

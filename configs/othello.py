"""Othello by self-play.

    rlsearch train othello
    rlsearch arena runs/othello --simulations 0 16 64 --rollouts --games 16

One CPU core, shared with other work, 15 minutes: 1,501 Elo over random play at 64 simulations.
Other players and intervals: docs/results.md, "Other games".
"""

from rlsearch.config import Experiment, OptimizerConfig, SearchConfig, TowerConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.stages.self_play import SelfPlay

config = Experiment(
    name="othello",
    stages=(
        SelfPlay(
            environment=PgxGame(game="othello"),
            model=TowerConfig(num_blocks=4, channels=32),
            search=SearchConfig(
                actions="moves", num_simulations=16, num_candidates=16, value_scale=0.5
            ),
            num_steps=600,
            num_games=64,
            moves_per_step=8,
            replay_moves=1024,
            updates_per_step=8,
            batch_size=256,
            td_lambda=0.95,
            random_opening=8,
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=200),
        ),
    ),
)

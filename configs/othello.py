"""Othello by self-play.

    rlsearch train othello
    rlsearch arena runs/othello --simulations 0 16 64 --rollouts --games 16

Training seed 0, 15 minutes of one CPU core, of which others took a part at the time (2026-11-23).
All 96 games against random play are won. Elo, random play being 0, of which only the differences
between the other three mean much: 879 for the policy alone (712 to 1,482), 1,156 with 16
simulations (954 to 1,796), 1,501 with 64 (1,292 to 2,233); 32 games a pairing.
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

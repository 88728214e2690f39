"""2048 by a search that learns; a child of the tree is one draw of its chance.

    rlsearch train 2048
    rlsearch evaluate runs/2048 --budgets 16

Mean return of 64 games, with its 95% interval (training seed 0; 5:36 minutes of one CPU core, of
which others took a part at the time; 2026-11-23):

    random moves      1,151   (1,002 to 1,301)
    policy alone      3,335   (2,885 to 3,785)
    16 simulations    16,960  (14,960 to 18,960)
"""

from rlsearch.config import Experiment, OptimizerConfig, SearchConfig, TowerConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.stages.self_play import SelfPlay

config = Experiment(
    name="2048",
    stages=(
        SelfPlay(
            environment=PgxGame(game="2048", reward_scale=0.001, discount=0.997),
            model=TowerConfig(num_blocks=4, channels=32, value="unbounded"),
            search=SearchConfig(
                actions="moves", num_simulations=16, num_candidates=4, value_scale=0.5
            ),
            num_steps=900,
            num_games=64,
            moves_per_step=8,
            replay_moves=1024,
            updates_per_step=8,
            batch_size=256,
            td_lambda=0.9,
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=200),
        ),
    ),
)

"""2048 by a search that learns; a child of a tree node is one draw of its chance.

    rlsearch train 2048
    rlsearch evaluate runs/2048 --budgets 16

One CPU core, shared with other work, 5:36 minutes: a mean return of 16,960 with 16 simulations.
Random play and the policy alone: docs/results.md, "Other games".
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

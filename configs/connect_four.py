"""Connect four by self-play.

    rlsearch train connect_four
    rlsearch evaluate runs/connect_four --positions FILE --budgets 128

One CPU core, 79 minutes (59:55 with `--self_play.num_steps 1250`): the policy alone keeps the
game-theoretic value in 91.8% of 1,200 solved positions. With searches, Elo against simulations, and
against the example of pgx: docs/results.md, "Connect four".

Planned for several chips, not run: `rlsearch plan connect_four --topology v5e-16`.
"""

from rlsearch.config import Experiment, LogConfig, OptimizerConfig, SearchConfig, TowerConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.stages.self_play import SelfPlay

config = Experiment(
    name="connect_four",
    stages=(
        SelfPlay(
            environment=PgxGame(game="connect_four"),
            model=TowerConfig(num_blocks=4, channels=32),
            search=SearchConfig(
                actions="moves", num_simulations=24, num_candidates=7, value_scale=0.5
            ),
            play=SearchConfig(
                actions="moves",
                num_simulations=128,
                num_candidates=7,
                value_scale=0.2,
                gumbel_scale=0.0,
            ),
            num_steps=4400,
            num_games=64,
            moves_per_step=8,
            replay_moves=2048,
            updates_per_step=8,
            batch_size=256,
            td_lambda=0.95,
            random_opening=12,
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=500),
        ),
    ),
    log=LogConfig(keep_every_steps=500),  # `arena --checkpoints all`: Elo against training time
)

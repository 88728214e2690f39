"""Chess by self-play, for a pod of TPUs.

    rlsearch train chess --run-dir gs://BUCKET/chess

It has not been run, and nothing is measured. Sized for v5p-256, where this

    rlsearch plan chess --topology v5p-256

says that a step needs 2.1 of 95 GiB of memory on each of the 128 chips. Work, time and links:
docs/results.md, "Chess, planned only".
"""

from rlsearch.config import Experiment, OptimizerConfig, SearchConfig, TowerConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.stages.self_play import SelfPlay

config = Experiment(
    name="chess",
    stages=(
        SelfPlay(
            environment=PgxGame(game="chess"),
            model=TowerConfig(
                num_blocks=15, channels=256, squeeze_excite=8, value_dim=256, dtype="bfloat16"
            ),
            search=SearchConfig(
                actions="moves", num_simulations=64, num_candidates=16, value_scale=0.5
            ),
            play=SearchConfig(
                actions="moves",
                num_simulations=800,
                num_candidates=16,
                value_scale=0.5,
                gumbel_scale=0.0,
            ),
            num_steps=100_000,
            num_games=8192,
            moves_per_step=8,
            replay_moves=256,
            updates_per_step=8,
            batch_size=16_384,
            td_lambda=0.95,
            random_opening=4,
            temperature_moves=30,
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2000),
        ),
    ),
)

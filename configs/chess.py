"""Chess by self-play, for a pod of TPUs.

    rlsearch train chess --run-dir gs://BUCKET/chess

Sized for v5p-256. It has not been run, and nothing is measured. What is planned, by

    rlsearch plan chess --topology v5p-256

with libtpu 0.0.42.1 (2026-11-23), of each of its 128 chips: 2.1 of 95 GiB of memory (trees 0.5,
replay 0.5, generated code 0.3); 7.1e13 FLOPs a step, 92% of them in searches; at least 0.49 s a
step, bound by the memory's speed, as products alone would take 0.15 s: in every simulation most of
what is moved are whole trees, whose statistics are 4,672 actions wide. Chips talk of gradients and
parameters alone, for 0.02 s.
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

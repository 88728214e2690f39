"""Connect four by self-play. Meant for an hour on 2 CPU cores; not measured yet, so no number."""

from rlsearch.config import (
    EnvironmentConfig,
    OptimizerConfig,
    SearchConfig,
    SelfPlayConfig,
    SelfPlayExperiment,
    TowerConfig,
)

config = SelfPlayExperiment(
    name="connect_four",
    environment=EnvironmentConfig(game="connect_four"),
    model=TowerConfig(num_blocks=4, channels=32),
    search=SearchConfig(actions="moves", num_simulations=24, num_candidates=7, value_scale=0.5),
    self_play=SelfPlayConfig(
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
)

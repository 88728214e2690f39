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
    search=SearchConfig(actions="moves", num_simulations=32, num_candidates=7, value_scale=0.5),
    self_play=SelfPlayConfig(
        num_steps=1200,
        num_games=128,
        moves_per_step=16,
        replay_moves=1024,
        updates_per_step=4,
        batch_size=1024,
        random_opening=12,
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100),
    ),
)

"""Game of 24 on the public benchmark split of tree-of-thought-llm."""

from rlsearch.config import (
    ControlConfig,
    DistillConfig,
    Experiment,
    OptimizerConfig,
    PretrainConfig,
    SearchConfig,
    TaskConfig,
)

config = Experiment(
    name="game24_tot",
    task=TaskConfig(split="tot"),
    pretrain=PretrainConfig(num_steps=1200),
    search=SearchConfig(num_simulations=24, num_candidates=12),
    distill=DistillConfig(
        num_steps=360,
        num_problems=128,
        task_fraction=0.4,
        num_targets=2,
        updates_per_step=2,
        replay_size=3840,
        batch_size=384,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
    ),
    control=ControlConfig(enabled=False),
)

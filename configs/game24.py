"""Game of 24: a language policy that tree search makes better, in one jitted step."""

from rlsearch.config import (
    DistillConfig,
    Experiment,
    OptimizerConfig,
    PretrainConfig,
    SearchConfig,
    TaskConfig,
)

config = Experiment(
    name="game24",
    task=TaskConfig(split="random"),
    pretrain=PretrainConfig(num_steps=500),
    search=SearchConfig(num_simulations=24, num_candidates=12),
    distill=DistillConfig(
        num_steps=80,
        num_problems=128,
        task_fraction=0.4,
        num_targets=2,
        updates_per_step=2,
        replay_size=3840,
        batch_size=384,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
    ),
)

"""Arithmetic: nested expressions of 2 to 12 operations, one operation a line. Not measured yet.

    rlsearch train arithmetic && rlsearch evaluate runs/arithmetic

A finished solution does not show whether it is right, so that here voting and verifiers differ.
"""

from rlsearch.config import (
    DistillConfig,
    EvaluationConfig,
    Experiment,
    OptimizerConfig,
    PretrainConfig,
    SearchConfig,
    TaskConfig,
)

config = Experiment(
    name="arithmetic",
    task=TaskConfig(cls="rlsearch.tasks.arithmetic:Arithmetic", num_held_out=110),
    pretrain=PretrainConfig(num_steps=600, batch_size=128),
    search=SearchConfig(num_simulations=48, num_candidates=6),
    distill=DistillConfig(
        num_steps=20,
        num_problems=64,
        task_fraction=0.0,
        num_targets=2,
        decisions_per_search=12,
        updates_per_step=2,
        replay_size=1920,
        batch_size=192,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
    ),
    evaluation=EvaluationConfig(
        strategies=("greedy", "self_consistency", "best_of_n", "weighted_best_of_n", "tree_search")
    ),
)

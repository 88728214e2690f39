"""Arithmetic: nested expressions of 2 to 12 operations, one operation a line.

    rlsearch train arithmetic && rlsearch evaluate runs/arithmetic --suite verifiers

One CPU core, 76 minutes of training: best-of-64 with the process reward model solves 80.9% of 110
held-out expressions. All strategies, labels and revisions: docs/results.md, "Arithmetic".

A finished solution does not show whether it is right, so that voting and verifiers differ. The
generator learns from traces that get three in ten kinds of operations wrong, each at a rate of its
own; a vote does not detect the mistakes that are made more often than not. An outcome and a process
reward model, each a copy of the generator, then learn from as many of its solutions in as many
steps: one from the outcome, the other from whether each line is right. The value head learns from
the traces as if they were right, and is no judge here. `--distill.enabled true` adds search
distillation before the reward models, `--revision.enabled true` a policy that revises its answers.

Planned for a pod, not run: `rlsearch plan arithmetic --topology v6e-64`.
"""

from rlsearch.config import (
    ControlConfig,
    DistillConfig,
    EvaluationConfig,
    Experiment,
    OptimizerConfig,
    PretrainConfig,
    SearchConfig,
    TaskConfig,
    VerifierConfig,
)

config = Experiment(
    name="arithmetic",
    task=TaskConfig(
        cls="rlsearch.tasks.arithmetic:Arithmetic",
        largest=20,
        num_held_out=110,
        mistake_share=0.3,
    ),
    pretrain=PretrainConfig(num_steps=4000, batch_size=64, contrast=0.1),
    search=SearchConfig(num_simulations=48, num_candidates=6),
    distill=DistillConfig(
        enabled=False,
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
    control=ControlConfig(enabled=False),
    verifier=VerifierConfig(
        train=("prm", "orm"),
        network="copy",
        num_steps=600,
        num_solutions=64,
        replay_size=12800,
        updates_per_step=2,
        batch_size=64,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
    ),
    evaluation=EvaluationConfig(
        strategies=("greedy", "self_consistency", "best_of_n", "weighted_best_of_n", "tree_search")
    ),
)

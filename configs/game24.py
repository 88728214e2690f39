"""Game of 24: a language policy that tree search makes better, in one jitted step.

    bash launch/local.sh
    rlsearch train game24 && rlsearch evaluate runs/game24

100 held-out puzzles, training seed 0, three evaluation seeds, on 2 CPU cores that were shared with
other work, 2026-11-22; 19:20 minutes from a fresh clone and 2.6 GB of memory, control included:

    policy      greedy            best-of-64        tree search, budget 64
    base        13.0 (8 to 21)    33.0 (25 to 43)   41.3 (32 to 51)
    control     17.0 (11 to 26)   65.3 (56 to 74)   73.7 (64 to 81)
    distilled   19.0 (13 to 28)   67.7 (58 to 76)   70.7 (61 to 79)

801,985 parameters. One training seed: the spread between trainings is not known.
"""

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
    search=SearchConfig(num_simulations=72, num_candidates=14),
    distill=DistillConfig(
        num_steps=80,
        num_problems=128,
        task_fraction=0.4,
        num_targets=2,
        decisions_per_search=3,
        updates_per_step=2,
        replay_size=3840,
        batch_size=384,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
    ),
)

"""Arithmetic: nested expressions of 2 to 12 operations, one operation a line.

    rlsearch train arithmetic && rlsearch evaluate runs/arithmetic --suite verifiers

A finished solution does not show whether it is right, so that here voting and verifiers differ. The
generator learns from traces that get three in ten kinds of operations wrong, each at a rate of its
own: a vote does not see through those that are made more often than not. An outcome and a process
reward model then learn from what it writes: each is a copy of it that learns on, from as many
solutions of the same policy, in as many steps. They differ in their labels alone, the outcome for
the one and for the other whether each line is right. The value head learns from the traces, as if
they were right, and is no judge here. `--distill.enabled true` puts search distillation between,
`--revision.enabled true` a policy that revises its answers.

Best-of-64 on 110 held-out expressions, in percent, with the 95% interval (training seed 0,
evaluation seed 0, 76 minutes of training on one CPU core; 2026-11-23, the command above): process
reward model 80.9 (73 to 87), outcome reward model 50.0 (41 to 59), majority vote 35.5 (27 to 45).
With `--pretrain.num_steps 2000` and a process reward model of 20,000 exact labels
(`arithmetic_labels`), best-of-64's 40.9 takes compute-optimal 6 generations by oracle difficulty
and 16 by predicted difficulty (2026-11-26, `--suite test-time-compute --policies base --verifier
runs/exact/prm --budgets 4 16 32 64 --seeds 0`, of six strategies; README, "Compute-optimal").

For a pod it is planned, and not run: `rlsearch plan arithmetic --topology v6e-64`.
"""

import dataclasses

from rlsearch.studies.accuracy import Accuracy

from rlsearch.config import Experiment, OptimizerConfig
from rlsearch.stages.traces import Traces
from rlsearch.stages.verifier import ExactSteps, Outcomes, Verifier
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.strategies.weighted_best_of_n import WeightedBestOfN
from rlsearch.tasks.arithmetic import Arithmetic

process = Verifier(
    "prm",
    policy="base",
    labels=ExactSteps(),
    network="copy",
    aggregation="prod",
    num_steps=600,
    num_solutions=64,
    replay_size=12800,
    updates_per_step=2,
    batch_size=64,
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
)

config = Experiment(
    name="arithmetic",
    task=Arithmetic(largest=20, num_held_out=110, mistake_share=0.3),
    stages=(
        Traces("base", num_steps=4000, batch_size=64, contrast=0.1),
        process,
        dataclasses.replace(process, name="orm", labels=Outcomes(), aggregation="last"),
    ),
    evaluation=(
        Accuracy(
            strategies=(
                Greedy(),
                SelfConsistency(),
                BestOfN(),
                WeightedBestOfN(),
                TreeSearch(),
            )
        ),
    ),
)

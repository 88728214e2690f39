"""Arithmetic: nested expressions of 2 to 12 operations, one operation a line.

    rlsearch train arithmetic && rlsearch evaluate runs/arithmetic --suite verifiers

One CPU core, 76 minutes of training: best-of-64 with the process reward model solves 80.9% of 110
held-out expressions. All strategies, labels and revisions: docs/results.md, "Arithmetic".

A finished solution does not show whether it is right, so that voting and verifiers differ. The
generator learns from traces that get three in ten kinds of operations wrong, each at a rate of its
own; a vote does not detect the mistakes that are made more often than not. An outcome and a process
reward model, each a copy of the generator, then learn from as many of its solutions in as many
steps: one from the outcome, the other from whether each line is right. The value head learns from
the traces as if they were right, and is no judge here. `--stages base
search_distillation prm orm` adds search distillation before the reward models, and `--stages base
prm orm revision` a policy that revises its answers.

Planned for a pod, not run: `rlsearch plan arithmetic --topology v6e-64`.
"""

import dataclasses

from rlsearch.config import Experiment, OptimizerConfig
from rlsearch.stages.traces import Traces
from rlsearch.stages.verifier import ExactSteps, Outcomes, Verifier
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.strategies.weighted_best_of_n import WeightedBestOfN
from rlsearch.studies.accuracy import Accuracy
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

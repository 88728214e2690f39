"""Game of 24: a language policy that tree search makes better, in one jitted step.

    bash launch/local.sh
    rlsearch train game24 && rlsearch evaluate runs/game24

100 held-out puzzles, in percent, mean and range of training seeds 0, 1 and 2, of each the mean of
evaluation seeds 0, 1 and 2 (the 95% interval over the puzzles is about 9 points to either side);
2026-11-22 and 23, CPU. Seed 0 took 19:20 minutes from a fresh clone on 2 cores that were shared
with other work, and 2.6 GB of memory, control included; seeds 1 and 2 ran on one core each.

    policy      greedy           best-of-64       tree search, budget 64
    base        11.0 ( 9 to 13)  29.7 (22 to 34)  39.3 (32 to 44)
    control     20.0 (17 to 24)  60.8 (51 to 66)  71.9 (68 to 74)
    distilled   20.0 (19 to 22)  62.2 (52 to 68)  69.8 (64 to 74)

801,985 parameters. What a pod makes of it, planned and not run, with a problem a chip:

    rlsearch plan game24 --topology v6e-256

Beam search with N = 64 over all 100 held-out problems at once is 0.95 times as fast as problem by
problem on one CPU core, which one problem fills, and gives the same answers (`rlsearch bench beams
game24`, 2026-11-25, a median of 3).
"""

from rlsearch.studies.accuracy import Accuracy

from rlsearch.config import Experiment, OptimizerConfig, SearchConfig
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.traces import Traces
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.tasks.game24 import Game24

teaching = Teaching(
    num_problems=128,
    task_fraction=0.4,
    updates_per_step=2,
    replay_size=3840,
    batch_size=384,
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=20),
)

config = Experiment(
    name="game24",
    task=Game24(split="random"),
    stages=(
        Traces("base", num_steps=500),
        SearchDistillation(
            "distilled",
            start="base",
            num_steps=80,
            search=SearchConfig(num_simulations=72, num_candidates=14),
            num_targets=2,
            decisions_per_search=3,
            teaching=teaching,
        ),
        ExpertIteration("control", start="base", flops_of="distilled", teaching=teaching),
    ),
    evaluation=(Accuracy(strategies=(Greedy(), BestOfN(), TreeSearch())),),
)

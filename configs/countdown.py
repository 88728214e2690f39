"""Countdown: make a number from four others. As game24, on unlimited problems.

    rlsearch train countdown && rlsearch evaluate runs/countdown

Policy `base` (3,000 steps of pre-training, 76 minutes of one CPU core, training seed 0), 500
held-out problems, evaluation seed 0, in percent, the 95% interval 3.5 to 4.4 points to either side
(2026-11-26; `rlsearch evaluate runs/countdown --suite test-time-compute --policies base --budgets 4
16 32 64 --seeds 0`). It was trained with `task.num_held_out` 200, which trains the same: a hash
decides which numbers are held out.

    budget              4      16      32      64
    majority vote     13.6    17.4    18.2    19.4
    best-of-N         23.6    38.2    42.6    45.2
    weighted          23.6    37.8    42.4    45.0
    beam search       18.0    28.4    32.6    33.0
    lookahead         18.4    32.6    39.6    40.2
    diverse search    18.0    28.4    32.8    36.6
    tree search       19.6    37.2    46.6    49.0
    MCTS-alpha        17.6    30.6    32.0    43.6
    MCTS-rollout      21.8    47.8    55.2    46.6
    BFS-V             16.4    34.0    42.8    38.8
    DFS-V             16.4    28.8    35.8    37.8
    compute-optimal
      oracle          22.4    43.8    52.0    45.2
      predicted       21.6    45.4    54.6    47.2

Compute-optimal reaches best-of-64's 45.2 with 16 generations where difficulty is predicted and 18
where it is known; 64 more estimate it, of each problem, in either case.

Distilled for 80 steps, 19 minutes more, the same problems and seeds (`--policies base distilled
--strategies greedy best_of_n tree_search mcts_rollout --budgets 1 4 16 64 --seeds 0`), greedy from
14.0 to 16.0; the intervals of base and distilled overlap throughout:

    budget                        4            16            64
    best-of-N           23.6 -> 28.2  38.2 -> 38.0  45.2 -> 47.2
    tree search         19.6 -> 24.4  37.2 -> 42.2  49.0 -> 50.8
    MCTS-rollout        21.8 -> 25.6  47.8 -> 49.2  46.6 -> 54.2

All eleven strategies at 64 generations took 136 seconds of one CPU core together, compilation left
out (`--budgets 64 --seeds 0`, with the weights of a shorter training).
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.tasks.countdown import Countdown

game24 = load(str(Path(__file__).with_name("game24.py")))
base, distilled, _ = game24.stages

config = dataclasses.replace(
    game24,
    name="countdown",
    task=Countdown(num_held_out=500, largest=25),
    stages=(dataclasses.replace(base, num_steps=3000), distilled),
)

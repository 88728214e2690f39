"""Game of 24 with its control: expert iteration that costs what search distillation does.

    rlsearch train game24_control && rlsearch evaluate runs/game24_control

What `game24` trains, and then `control`, which starts where `distilled` does and learns from its
own correct samples until it has spent the same FLOPs. 2 CPU cores, about 5 minutes more than
`game24`: tree search with a budget of 64 solves 81.7% of 100 held-out puzzles with policy
`control`. Every policy, with ranges over seeds: docs/results.md, "Game of 24".
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.policy_gradient import PolicyGradient

game24 = load(str(Path(__file__).with_name("game24.py")))
base, distilled = game24.stages

config = dataclasses.replace(
    game24,
    name="game24_control",
    stages=(
        base,
        distilled,
        ExpertIteration(
            "control",
            start="base",
            flops_of="distilled",
            min_p=distilled.search.min_p,
            teaching=distilled.teaching,
        ),
        PolicyGradient(
            "reinforced",
            start="base",
            num_steps=0,
            flops_of="distilled",
            min_p=distilled.search.min_p,
            teaching=distilled.teaching,
        ),
    ),
)

"""A process reward model of what the run `arithmetic` writes, from labels made before.

    rlsearch data label runs/arithmetic --labels soft --generations 20000
    rlsearch train arithmetic_labels --verifier.labels runs/arithmetic/labels/soft \
        --verifier.aggregation last --run-dir runs/arithmetic_soft
    rlsearch evaluate runs/arithmetic --suite verifiers --verifier prm runs/arithmetic_soft/prm

So labels of every kind can be compared at equal generations: exact, hard, soft and by bisection.
The README has exact, soft and bisection labels compared, at 20,000 generations each.
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.stages.verifier import LabelsFrom

arithmetic = load(str(Path(__file__).with_name("arithmetic.py")))
_, process, _ = arithmetic.stages

config = dataclasses.replace(
    arithmetic,
    name="arithmetic_labels",
    stages=(
        dataclasses.replace(
            process,
            policy="runs/arithmetic/base",
            labels=LabelsFrom("runs/arithmetic/labels/soft"),
        ),
    ),
)

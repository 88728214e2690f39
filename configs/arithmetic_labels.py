"""A process reward model of what the run `arithmetic` writes: it is labelled, and then learnt from.

    rlsearch train arithmetic_labels --labels.kind soft --prm.aggregation last \
        --run-dir runs/arithmetic_soft
    rlsearch evaluate runs/arithmetic --suite verifiers --verifier prm runs/arithmetic_soft/prm

Compares kinds of labels (exact, hard, soft, by bisection) at equal generations. One CPU core,
duration not recorded: 20,000 generations of soft labels give a step accuracy of 69.8%, after
a short training (`--base.num_steps 2000` and `--prm.num_steps 250`). The other kinds:
docs/results.md, "Labels at equal generations".
"""

import dataclasses
from pathlib import Path

from rlsearch.config_file import load
from rlsearch.stages.labelling import Labelling
from rlsearch.stages.verifier import LabelsFrom

arithmetic = load(str(Path(__file__).with_name("arithmetic.py")))
_, process, _ = arithmetic.stages
POLICY = "runs/arithmetic/base"

config = dataclasses.replace(
    arithmetic,
    name="arithmetic_labels",
    stages=(
        Labelling("labels", policy=POLICY, kind="soft", generations=20_000),
        dataclasses.replace(process, policy=POLICY, labels=LabelsFrom("labels")),
    ),
)

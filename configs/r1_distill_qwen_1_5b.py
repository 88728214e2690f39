"""DeepSeek-R1-Distill-Qwen-1.5B, which reasons before it answers, by policy gradient on a pod.

    rlsearch plan r1_distill_qwen_1_5b --topology v5e-16 --data-dir DIR
    rlsearch train r1_distill_qwen_1_5b --data-dir DIR

Planned, not run: on each chip a step needs 9.16 GiB of the 16 GiB that there are; docs/results.md,
"Open models". Folders and files are as in gsm8k_qwen2_5_1_5b. A text may have 2,048 tokens, its
reasoning among them; what is cut there counts as wrong.
"""

import dataclasses
from pathlib import Path

from rlsearch.config import Lines
from rlsearch.config_file import load
from rlsearch.stages.policy_gradient import PolicyGradient
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.studies.accuracy import Accuracy

gsm8k = load(str(Path(__file__).with_name("gsm8k_qwen2_5_1_5b.py")))
distilled, _ = gsm8k.stages

config = dataclasses.replace(
    gsm8k,
    name="r1_distill_qwen_1_5b",
    model=dataclasses.replace(
        gsm8k.model,
        folder="models/DeepSeek-R1-Distill-Qwen-1.5B",
        max_tokens=2048,
        lines=Lines(64, 32),
    ),
    stages=(
        PolicyGradient(
            "reinforced",
            start="pretrained",
            num_steps=500,
            num_samples=8,
            standardise=False,
            teaching=dataclasses.replace(
                distilled.teaching,
                num_problems=64,
                replay_size=128,
                batch_size=64,
                updates_per_step=2,
                optimizer=dataclasses.replace(
                    distilled.teaching.optimizer, learning_rate=1e-6, warmup_steps=10
                ),
            ),
        ),
    ),
    evaluation=(Accuracy(strategies=(Greedy(), SelfConsistency()), budgets=(1, 16), seeds=(0,)),),
)

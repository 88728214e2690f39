"""Qwen2.5-1.5B-Instruct learns grade school mathematics from a tree that draws, on a pod.

    rlsearch plan gsm8k_qwen2_5_1_5b --topology v5e-16 --data-dir DIR
    rlsearch train gsm8k_qwen2_5_1_5b --data-dir DIR

Planned, not run: on each chip a step of `distilled` needs 9.99 GiB of the 16 GiB that there are. It
draws trees of up to eight solutions for 128 problems at once. docs/results.md, "Open models", says
what it takes.

The folder `model.folder` is that of the open model, from the Hugging Face Hub, and DIR holds
train.jsonl and test.jsonl of github.com/openai/grade-school-math. A plan reads the folder's small
files alone.
"""

from rlsearch.config import (
    Experiment,
    Lines,
    LogConfig,
    OptimizerConfig,
    Pretrained,
    SearchConfig,
)
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.tree_distillation import TreeDistillation
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.drawing_tree import DrawingTree
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.studies.accuracy import Accuracy
from rlsearch.tasks.chat import Chat
from rlsearch.tasks.questions import GSM8K

teaching = Teaching(
    num_problems=128,
    task_fraction=1.0,
    critic_samples=0,
    traces=0,
    replay_size=1024,
    batch_size=128,
    updates_per_step=1,
    optimizer=OptimizerConfig(learning_rate=2e-6, warmup_steps=20, weight_decay=0.0),
)

config = Experiment(
    name="gsm8k_qwen2_5_1_5b",
    task=GSM8K(),
    prompting=Chat(),
    model=Pretrained(
        "models/Qwen2.5-1.5B-Instruct",
        max_tokens=320,
        lines=Lines(12, 64),
        dtype="bfloat16",
        scan_layers=True,
        remat="nothing_saveable",
    ),
    stages=(
        TreeDistillation(
            "distilled",
            start="pretrained",
            num_steps=500,
            search=SearchConfig(
                policy="draw",
                trust=0.0,
                num_simulations=64,
                num_candidates=8,
                max_tokens=2560,
                tilt=3.0,
                min_p=0.05,
            ),
            num_targets=1,
            teaching=teaching,
        ),
        ExpertIteration(
            "control",
            start="pretrained",
            flops_of="distilled",
            num_samples=8,
            min_p=0.05,
            teaching=teaching,
        ),
    ),
    evaluation=(
        Accuracy(
            strategies=(Greedy(), BestOfN(), SelfConsistency(), DrawingTree()),
            budgets=(1, 16),
            seeds=(0,),
        ),
    ),
    log=LogConfig(every_steps=1, checkpoint_seconds=900.0),
)

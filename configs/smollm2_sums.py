"""SmolLM2-135M-Instruct learns sums of one-digit numbers from a tree that draws.

    rlsearch train smollm2_sums --model.folder models/SmolLM2-135M-Instruct
    rlsearch evaluate runs/smollm2_sums

The folder is that of the open model, from the Hugging Face Hub. One CPU core, 52 minutes for the
85 steps of stage `distilled`: greedy decoding answers 52.6% of 500 held-out problems, and the
model as it came fewer.

Problems are drawn by reasoning-gym (extra `reasoning`); the 500 that are held out are never learnt
from. An answer is checked on the host in the midst of the jitted step. `control`, which samples
instead at the same FLOPs, is not measured. With intervals: docs/results.md, "Open models".
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
from rlsearch.tasks.questions import Generated

teaching = Teaching(
    num_problems=32,
    task_fraction=1.0,
    critic_samples=0,
    traces=0,
    likelihood=1.0,
    replay_size=256,
    batch_size=32,
    updates_per_step=1,
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_steps=5, weight_decay=0.0),
)

config = Experiment(
    name="smollm2_sums",
    task=Generated(
        "chain_sum",
        options=("min_terms=2", "max_terms=3", "min_digits=1", "max_digits=1"),
        size=8000,
        num_held_out=500,
    ),
    prompting=Chat(system="Answer.", instruction="Then write: The answer is"),
    model=Pretrained(
        "models/SmolLM2-135M-Instruct", max_tokens=12, lines=Lines(2, 8), dtype="bfloat16"
    ),
    stages=(
        TreeDistillation(
            "distilled",
            start="pretrained",
            num_steps=85,
            search=SearchConfig(
                policy="draw",
                trust=0.0,
                num_simulations=24,
                num_candidates=8,
                max_tokens=96,
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
    log=LogConfig(every_steps=1, checkpoint_seconds=600.0, keep_checkpoints=1),
)

"""DeepSeek-R1-Distill-Qwen-1.5B, which reasons before it answers, by policy gradient on a pod.

    rlsearch plan r1_distill_qwen_1_5b --topology v5e-16 --data-dir DIR
    rlsearch train r1_distill_qwen_1_5b --data-dir DIR

Planned, not run: on each chip a step needs 9.16 GiB of the 16 GiB that there are; docs/results.md,
"Open models". Folders and files are as in gsm8k_qwen2_5_1_5b. A text may have 2,048 tokens, its
reasoning among them; what is cut there counts as wrong.
"""

from rlsearch.config import Experiment, Lines, LogConfig, OptimizerConfig, Pretrained
from rlsearch.stages.policy_gradient import PolicyGradient
from rlsearch.stages.teaching import Teaching
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.studies.accuracy import Accuracy
from rlsearch.tasks.chat import Chat
from rlsearch.tasks.questions import GSM8K

config = Experiment(
    name="r1_distill_qwen_1_5b",
    task=GSM8K(),
    prompting=Chat(),
    model=Pretrained(
        "models/DeepSeek-R1-Distill-Qwen-1.5B",
        max_tokens=2048,
        lines=Lines(64, 32),
        dtype="bfloat16",
        scan_layers=True,
        remat="nothing_saveable",
    ),
    stages=(
        PolicyGradient(
            "reinforced",
            start="pretrained",
            num_steps=500,
            num_samples=8,
            standardise=False,
            teaching=Teaching(
                num_problems=64,
                task_fraction=1.0,
                critic_samples=0,
                traces=0,
                replay_size=128,
                batch_size=64,
                updates_per_step=2,
                optimizer=OptimizerConfig(learning_rate=1e-6, warmup_steps=10, weight_decay=0.0),
            ),
        ),
    ),
    evaluation=(Accuracy(strategies=(Greedy(), SelfConsistency()), budgets=(1, 16), seeds=(0,)),),
    log=LogConfig(every_steps=1, checkpoint_seconds=900.0),
)

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

import dataclasses
from pathlib import Path

from rlsearch.config import Lines, LogConfig, OptimizerConfig, Pretrained
from rlsearch.config_file import load
from rlsearch.tasks.chat import Chat
from rlsearch.tasks.questions import GSM8K

sums = load(str(Path(__file__).with_name("smollm2_sums.py")))
distilled, control = sums.stages
teaching = dataclasses.replace(
    distilled.teaching,
    num_problems=128,
    replay_size=1024,
    batch_size=128,
    optimizer=OptimizerConfig(learning_rate=2e-6, warmup_steps=20, weight_decay=0.0),
)
search = dataclasses.replace(distilled.search, num_simulations=64, max_tokens=2560)

config = dataclasses.replace(
    sums,
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
        dataclasses.replace(distilled, num_steps=500, search=search, teaching=teaching),
        dataclasses.replace(control, teaching=teaching),
    ),
    log=LogConfig(every_steps=1, checkpoint_seconds=900.0),
)

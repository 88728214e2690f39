"""A run of Game of 24 that takes seconds: a tiny model, few steps, and all three stages."""

import json
import pathlib

from rlsearch.config import (
    ControlConfig,
    DistillConfig,
    Experiment,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    PretrainConfig,
    SearchConfig,
    TransformerConfig,
)
from rlsearch.config_file import to_dict

STAGE_ENDS = {"base": 3, "distilled": 6, "control": 9}


def tiny_experiment() -> Experiment:
    """Every step is logged and saved."""
    optimizer = OptimizerConfig(warmup_steps=1)
    return Experiment(
        name="tiny",
        model=TransformerConfig(
            num_layers=1,
            embed_dim=16,
            num_heads=2,
            num_kv_heads=1,
            head_dim=8,
            mlp_dim=32,
            value_dim=8,
        ),
        search=SearchConfig(num_simulations=3, num_candidates=2),
        pretrain=PretrainConfig(num_steps=3, batch_size=8, optimizer=optimizer),
        distill=DistillConfig(
            num_steps=3,
            num_problems=4,
            num_targets=2,
            critic_samples=1,
            traces=1,
            unsolved_weight=0.5,
            replay_size=24,
            updates_per_step=1,
            batch_size=8,
            optimizer=optimizer,
        ),
        control=ControlConfig(num_samples=9),
        parallel=ParallelConfig(data=1),
        log=LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=2),
    )


def write_config_file(path: pathlib.Path) -> str:
    """Writes a config file of the tiny experiment for the command line; returns its path."""
    fields = json.dumps(to_dict(tiny_experiment()))
    path.write_text(
        "import json\n\nfrom rlsearch.config_file import from_dict\n\n"
        f"config = from_dict(json.loads({fields!r}))\n"
    )
    return str(path)

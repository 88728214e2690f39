"""A run of arithmetic with verifiers that takes seconds."""

import dataclasses
import json
import pathlib

from rlsearch.config import (
    DistillConfig,
    Experiment,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    PretrainConfig,
    TaskConfig,
    VerifierConfig,
)
from rlsearch.config_file import to_dict
from tests.tiny import tiny_experiment

STAGE_ENDS = {"base": 2, "orm": 4, "prm": 6}


def verifier_experiment(**changes) -> Experiment:
    """Every step is logged and saved."""
    optimizer, model = OptimizerConfig(warmup_steps=1), tiny_experiment().model
    verifier = VerifierConfig(
        train=("orm", "prm"),
        model=dataclasses.replace(model, num_heads=1),
        num_steps=2,
        num_solutions=4,
        replay_size=8,
        updates_per_step=1,
        batch_size=4,
        optimizer=optimizer,
    )
    return Experiment(
        name="tiny_arithmetic",
        task=TaskConfig(
            cls="rlsearch.tasks.arithmetic:Arithmetic", num_operations=2, num_held_out=3
        ),
        model=model,
        pretrain=PretrainConfig(num_steps=2, batch_size=8, optimizer=optimizer),
        distill=DistillConfig(enabled=False),
        verifier=dataclasses.replace(verifier, **changes),
        parallel=ParallelConfig(data=1),
        log=LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=2),
    )


def write_config(path: pathlib.Path, config: Experiment) -> pathlib.Path:
    """Writes what is left of a run that has not begun: its config."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(to_dict(config)))
    return path

"""A run of Game of 24 that takes seconds: a tiny model, few steps, and three stages."""

import dataclasses
import json
import pathlib
from typing import Any

from rlsearch.config import (
    Experiment,
    Lines,
    LogConfig,
    OptimizerConfig,
    ParallelConfig,
    Pretrained,
    SearchConfig,
    TransformerConfig,
)
from rlsearch.config_data import to_data
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.traces import Traces
from rlsearch.tasks.chat import Chat
from rlsearch.tasks.game24 import Game24
from rlsearch.tasks.questions import Questions

STAGE_ENDS = {"base": 3, "distilled": 6, "control": 9}


def tiny_experiment() -> Experiment:
    """Every step is logged and saved."""
    optimizer = OptimizerConfig(warmup_steps=1)
    teaching = Teaching(
        num_problems=4,
        critic_samples=1,
        traces=1,
        replay_size=24,
        updates_per_step=1,
        batch_size=8,
        optimizer=optimizer,
    )
    return Experiment(
        name="tiny",
        task=Game24(),
        model=TransformerConfig(
            num_layers=1,
            embed_dim=16,
            num_heads=2,
            num_kv_heads=1,
            head_dim=8,
            mlp_dim=32,
            value_dim=8,
        ),
        stages=(
            Traces("base", num_steps=3, batch_size=8, optimizer=optimizer),
            SearchDistillation(
                "distilled",
                start="base",
                num_steps=3,
                search=SearchConfig(num_simulations=3, num_candidates=2),
                num_targets=2,
                unsolved_weight=0.5,
                teaching=teaching,
            ),
            ExpertIteration(
                "control", start="base", flops_of="distilled", num_samples=9, teaching=teaching
            ),
        ),
        parallel=ParallelConfig(data=1),
        log=LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=2),
    )


def words_experiment(model: str, data: str) -> Experiment:
    """An open model that learns from problems in words, for one step."""
    teaching = Teaching(
        num_problems=4,
        task_fraction=1.0,
        critic_samples=0,
        traces=0,
        replay_size=16,
        updates_per_step=1,
        batch_size=8,
        optimizer=OptimizerConfig(warmup_steps=1),
    )
    return Experiment(
        name="words",
        task=Questions(data),
        prompting=Chat(instruction=""),
        model=Pretrained(model, max_tokens=8, lines=Lines(2, 4)),
        stages=(
            ExpertIteration(
                "distilled", start="pretrained", num_steps=1, num_samples=2, teaching=teaching
            ),
        ),
        parallel=ParallelConfig(data=1),
    )


def with_stage(config: Experiment, name: str, **changes: Any) -> Experiment:
    """The experiment with other fields of one stage; `teaching` may be a dictionary of its own."""
    stages = []
    for stage in config.stages:
        if stage.name == name:
            own = dict(changes)
            for group in ("teaching", "search"):
                if isinstance(own.get(group), dict):
                    own[group] = dataclasses.replace(getattr(stage, group), **own[group])
            stage = dataclasses.replace(stage, **own)
        stages.append(stage)
    return dataclasses.replace(config, stages=tuple(stages))


def with_stages(config: Experiment, *names: str) -> Experiment:
    """The experiment with these of its stages alone."""
    stages = {stage.name: stage for stage in config.stages}
    return dataclasses.replace(config, stages=tuple(stages[name] for name in names))


def write_config_file(path: pathlib.Path, config: Experiment | None = None) -> str:
    """Writes a config file of an experiment, by default the tiny one; returns its path."""
    fields = json.dumps(to_data(config or tiny_experiment()))
    path.write_text(
        "import json\n\nfrom rlsearch.runs.opening import experiment_of\n\n"
        f"config = experiment_of({{'format': 3, **json.loads({fields!r})}})\n"
    )
    return str(path)

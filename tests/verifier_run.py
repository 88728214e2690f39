"""A run of arithmetic with verifiers that takes seconds."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from etils import epath

from rlsearch.config import Experiment, LogConfig, OptimizerConfig, ParallelConfig
from rlsearch.config_data import to_data
from rlsearch.measuring.opened import open_run
from rlsearch.stages.labelling import Labelling
from rlsearch.stages.traces import Traces
from rlsearch.stages.verifier import ExactSteps, Outcomes, Verifier
from rlsearch.tasks.arithmetic import Arithmetic
from rlsearch.training.labels import make_labels
from rlsearch.verifiers import label_making
from rlsearch.verifiers.labels import StepLabels
from tests.interruption import InterruptionError
from tests.tiny import tiny_experiment

STAGE_ENDS = {"base": 2, "orm": 4, "prm": 6}


def verifier_experiment(names: tuple[str, ...] = ("orm", "prm"), **changes: Any) -> Experiment:
    """Every step is logged and saved.

    Args:
        names: of the verifiers that are trained; "orm" learns outcomes, any other exact steps.
        changes: of the fields of all of them.
    """
    optimizer, model = OptimizerConfig(warmup_steps=1), tiny_experiment().model
    settings: dict[str, Any] = {
        "model": dataclasses.replace(model, num_heads=1),
        "num_steps": 2,
        "num_solutions": 4,
        "replay_size": 8,
        "updates_per_step": 1,
        "batch_size": 4,
        "optimizer": optimizer,
        **changes,
    }
    verifiers = (
        Verifier(
            name,
            **{
                "labels": Outcomes() if name == "orm" else ExactSteps(),
                "aggregation": "last" if name == "orm" else "prod",
                **settings,
            },
        )
        for name in names
    )
    return Experiment(
        name="tiny_arithmetic",
        task=Arithmetic(num_operations=2, num_held_out=3),
        model=model,
        stages=(Traces("base", num_steps=2, batch_size=8, optimizer=optimizer), *verifiers),
        parallel=ParallelConfig(data=1),
        log=LogConfig(every_steps=1, checkpoint_seconds=0.0, keep_checkpoints=2),
    )


def labelled(
    run: pathlib.Path, name: str, kind: str = "exact", generations: int = 8, **fields: Any
) -> dict[str, Any]:
    """Labels of what a run's `base` writes, made behind the run: their labels.json and folder."""
    labelling = Labelling(**{"num_problems": 4, "kind": kind, "generations": generations, **fields})
    folder = epath.Path(run) / "labels" / name
    return {"folder": str(folder), **make_labels(open_run(str(run)).lineage, labelling, folder)}


@contextlib.contextmanager
def killed_at_part(number: int) -> Iterator[list[pathlib.Path]]:
    """Ends what makes labels in front of a part; yields the parts that were written before it."""
    write, written = label_making.write_part, []

    def write_or_die(path: epath.Path, labels: StepLabels) -> None:
        if len(written) == number:
            raise InterruptionError
        written.append(pathlib.Path(path))
        write(path, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_making, "write_part", write_or_die)
        with pytest.raises(InterruptionError):
            yield written


def write_config(path: pathlib.Path, config: Experiment) -> pathlib.Path:
    """Writes what is left of a run that has not begun: its config."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"format": 2, **to_data(config)}))
    return path

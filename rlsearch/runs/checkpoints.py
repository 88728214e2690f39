"""The checkpoints of each stage of a run, by the steps of the stage.

    checkpoints/STAGE/STEP    steps of the stage
    checkpoints/STEP          in runs of format 1: steps of the run, all stages in one folder

`stage_checkpoints` is the one function that knows both.
"""

from collections.abc import Mapping
from typing import Any

from etils import epath

from rlsearch.checkpoints.store import Best, CheckpointStore
from rlsearch.config import LogConfig
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.parameters import warn


class StageCheckpoints:
    """A store of checkpoints as one stage counts its steps."""

    def __init__(self, store: CheckpointStore, before: int = 0):
        """Wraps a store.

        Args:
            before: steps of the run in front of the stage, where the folder counts them too.
        """
        self.store, self.before = store, before

    def __enter__(self) -> "StageCheckpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are complete, ascending."""
        return [step - self.before for step in self.store.steps()]

    def save(
        self,
        step: int,
        state: dict[str, Any],
        *,
        permanent: bool = False,
        wait: bool = False,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Saves a state; see `CheckpointStore.save`."""
        self.store.save(step + self.before, state, permanent=permanent, wait=wait, metrics=metrics)

    def restore_latest(self, abstract: Any) -> tuple[int, Any] | None:
        """Reads the newest checkpoint; see `CheckpointStore.restore_latest`."""
        found = self.store.restore_latest(abstract)
        return None if found is None else (found[0] - self.before, found[1])

    def restore_part(self, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
        """Reads some top-level keys of a checkpoint; see `CheckpointStore.restore_part`."""
        return self.store.restore_part(step + self.before, abstract)

    def path(self, step: int) -> epath.Path:
        """The folder of a checkpoint."""
        return self.store.directory / str(step + self.before)

    def last_good(self) -> str:
        """Names the checkpoint that is left where one cannot be written; see
        `CheckpointStore.last_good`."""
        return self.store.last_good()

    def close(self) -> None:
        """Waits for the save in flight."""
        self.store.close()


def stage_checkpoints(
    directory: RunDirectory, lineage: Lineage, name: str, log: LogConfig | None = None
) -> StageCheckpoints:
    """Opens the checkpoints of a stage, for reading, or with `log` for saving too."""
    log = log or LogConfig()
    best = None
    if log.keep_best and log.best_metric.partition("/")[0] == name:
        best = Best(log.keep_best, log.best_metric, log.best_mode)
    settings: dict[str, Any] = {"every": log.keep_every_steps, "best": best}
    if not is_in_one_folder(directory):
        folder = directory.checkpoints / name
        return StageCheckpoints(CheckpointStore(folder, log.keep_checkpoints, warn, **settings))
    end = lineage.ends()[name]
    before = end - lineage.num_steps(name)
    store = CheckpointStore(
        directory.checkpoints,
        log.keep_checkpoints,
        warn,
        among=range(before + 1, end + 1),
        **settings,
    )
    return StageCheckpoints(store, before)


def is_in_one_folder(directory: RunDirectory) -> bool:
    """Tells whether all stages' checkpoints are in one folder, as in format 1."""
    try:
        return any(
            path.name.partition(".")[0].isdecimal() for path in directory.checkpoints.iterdir()
        )
    except (FileNotFoundError, NotADirectoryError):
        return False


def complete_stages(directory: RunDirectory, lineage: Lineage) -> dict[str, int]:
    """The stages that have their last checkpoint, with its step, in their order."""
    found = {}
    for stage in lineage.config.stages:
        with stage_checkpoints(directory, lineage, stage.name) as checkpoints:
            last = lineage.num_steps(stage.name)
            if last in checkpoints.steps():
                found[stage.name] = last
    return found

"""Labels on disk."""

from rlsearch.tasks.base import Task
from rlsearch.verifiers.labels import StepLabels


def read_labels(folder: str, task: Task) -> StepLabels:
    raise NotImplementedError

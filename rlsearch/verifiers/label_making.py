"""A folder of labels in the making: part after part, up to what they may take.

The same command again, or the same stage, makes the parts that are missing, and the folder ends up
the same, bit for bit, however often it was cut off.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from rlsearch.parallel.agreement import is_main
from rlsearch.tasks.base import Task
from rlsearch.text import shortened
from rlsearch.verifiers.label_files import (
    part_path,
    read_about,
    read_part,
    write_about,
    write_part,
)
from rlsearch.verifiers.labels import StepLabels


class Limits(NamedTuple):
    """The most that labels may take, and their parts."""

    generations: int  # solutions and completions together; 0: as many as the parts take
    num_parts: int  # the most of them
    rows_of_a_part: int  # solutions of a part that nothing has cut short
    flops: float = 0.0  # of one generation


class LabelMaking:
    """Labels in the making; see `RowsInMaking`.

    Raises:
        ValueError: if there are others in the folder.
    """

    def __init__(
        self,
        folder: epath.Path,
        about: dict[str, Any],
        task: Task,
        limits: Limits,
        completed: Callable[[StepLabels], StepLabels] = lambda labels: labels,
    ):
        """Looks into `folder`; nothing is written to it before the first part.

        Args:
            about: what the labels are of, for labels.json.
            completed: of a part, on the host, what the device cannot do.
        """
        self.folder, self.about, self.task, self.limits = folder, about, task, limits
        self.completed = completed
        self.num_parts, self.spent, self.complete = 0, 0, False
        self.result: dict[str, Any] = {}
        self.totals = {"solutions": 0, "labels": 0}
        self._sum = 0.0  # of all labels
        found = read_about(folder)
        for field, value in about.items():
            if found is not None and found.get(field) != value:
                raise ValueError(
                    f"labels are {str(folder)!r}: there the {field} is "
                    f"{shortened(found.get(field))}, and now {shortened(value)}; give them "
                    "another name"
                )
        if found is not None and "parts" in found:
            self.result = _checked(folder, found)

    @property
    def flops(self) -> float:
        """FLOPs that the parts so far, or all of a folder that is complete, have taken, each
        generation as long as it may be."""
        return self.result.get("spent", self.spent) * self.limits.flops

    def is_there(self) -> bool:
        """Tells whether the next part is on file."""
        return part_path(self.folder, self.num_parts).exists()

    def take(self) -> dict[str, float]:
        """Counts the next part, which is on file; see `RowsInMaking`."""
        return self._count(read_part(part_path(self.folder, self.num_parts), self.task))

    def add(self, rows: StepLabels) -> dict[str, float]:
        """Writes the next part, as far as it can be paid for; see `RowsInMaking`.

        Raises:
            ValueError: if not even one label can be.
        """
        labels = self.completed(rows)
        if self.limits.generations:
            labels = affordable(labels, self.limits.generations - self.spent)
        if is_main():
            if not self.num_parts:
                write_about(self.folder, self.about)
            write_part(part_path(self.folder, self.num_parts), labels)
        return self._count(labels)

    def _count(self, labels: StepLabels) -> dict[str, float]:
        self.num_parts += 1
        self.spent += int(labels.generations.sum())
        self.totals["solutions"] += len(labels.prompts)
        self.totals["labels"] += int((labels.weights > 0).sum())
        short = len(labels.prompts) < self.limits.rows_of_a_part
        if self.result:  # they were complete before, and are only counted again
            self.complete = self.num_parts >= self.result["parts"]
        elif short or self.num_parts == self.limits.num_parts:
            self._conclude()
        self._sum += float((labels.values * labels.weights).sum())
        mean = self._sum / max(1, self.totals["labels"])
        known = {"generations": self.spent, **self.totals, "label_mean": mean}
        return {name: float(value) for name, value in known.items()}

    def _conclude(self) -> None:
        if not self.totals["labels"]:
            raise ValueError(
                f"generations is {self.limits.generations}: one label takes more"
                if self.limits.generations
                else f"labels are {str(self.folder)!r}: no solution that was written has a step"
            )
        result = {
            **self.about,
            "parts": self.num_parts,
            "solutions_of_a_part": self.limits.rows_of_a_part,
            "spent": self.spent,
            **self.totals,
        }
        if is_main():
            write_about(self.folder, result)
        self.result, self.complete = result, True


def _checked(folder: epath.Path, found: dict[str, Any]) -> dict[str, Any]:
    """What labels.json says of a folder that is complete.

    Raises:
        ValueError: if a number in it is none.
    """
    for name in ("parts", "solutions_of_a_part", "spent", "solutions", "labels"):
        if type(found.get(name)) is not int or found[name] < 0:
            raise ValueError(
                f"{folder / 'labels.json'} is damaged: {name} is {shortened(found.get(name))}, and "
                "it must be a whole number of at least 0"
            )
    return found


def affordable(labels: StepLabels, generations: int) -> StepLabels:
    """The first of `labels`, on the host, that so many generations pay for."""
    number = int((np.cumsum(labels.generations) <= generations).sum())
    # Of what costs nothing, the first that cannot be paid ends it all the same; a part that is
    # paid to the end and uses up the rest leaves nothing for the next one.
    return jax.tree.map(lambda x: x[:number], labels)

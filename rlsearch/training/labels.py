"""Labels of what a finished run's policy writes: the stage `Labelling`, behind the run."""

import dataclasses
import math
from typing import Any

import jax
from etils import epath

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.labelling import Labelling
from rlsearch.training.loop import Place
from rlsearch.training.progress import Progress
from rlsearch.training.writing import write_parts


def make_labels(
    lineage: Lineage, labelling: Labelling, folder: epath.Path, seed: int = 0
) -> dict[str, Any]:
    """Fills `folder` with labels, or with the rest of them, and returns what labels.json says.

    Args:
        lineage: of a run with a directory.
        seed: of the labels: the run's own is of its training.

    Raises:
        FileNotFoundError: if a policy or a verifier that is named has no checkpoint.
        ValueError: if the folder has other labels, or the task has none of the kind.
    """
    config = dataclasses.replace(lineage.config, seed=seed)
    lineage = dataclasses.replace(lineage, config=config)
    writing = labelling.build(lineage)
    rows = writing.open(folder)
    # As many devices as can have the same number of problems each.
    several = math.gcd(writing.num_keys, jax.device_count())
    mesh = make_mesh(ParallelConfig(data=several))
    read = Place(RunDirectory(lineage.directory, create=False), lineage, mesh).read(writing)
    key = jax.random.key(seed)
    parts = write_parts(writing, rows, read, mesh, lambda part: jax.random.fold_in(key, part))
    with Progress(writing.num_steps, f"{labelling.kind} labels") as progress:
        progress.begin("compiling")
        for number, known in enumerate(parts, start=1):
            progress.update(number, **known)
    return rows.result

"""Reading the parameters alone of a checkpoint, onto any mesh."""

import sys
from typing import Any

import jax
from jax.sharding import Mesh

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.parallel.agreement import is_main
from rlsearch.parallel.mesh import replicated
from rlsearch.parallel.sharding import placed
from rlsearch.runs.stage import Model, Params


def warn(sentence: str) -> None:
    """Tells the user what went wrong without stopping for it."""
    if is_main():
        print(f"warning: {sentence}", file=sys.stderr)


def load_params(store: CheckpointStore, step: int, model: Model, mesh: Mesh) -> Params:
    """The parameters alone of the checkpoint at `step`, whole on every device of `mesh`."""
    return restore_params(store, step, model, replicated(mesh))


def restore_params(store: CheckpointStore, step: int, model: Model, shardings: Any) -> Params:
    """The parameters alone of the checkpoint at `step`, where `shardings` says."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return store.restore_part(step, {"params": placed(shapes, shardings)})["params"]

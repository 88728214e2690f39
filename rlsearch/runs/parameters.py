"""Reading the parameters alone of a checkpoint, onto any mesh."""

import sys
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from rlsearch.parallel.agreement import is_main
from rlsearch.parallel.mesh import replicated
from rlsearch.parallel.sharding import placed
from rlsearch.runs.stage import Model, Params


def warn(sentence: str) -> None:
    """Tells the user what went wrong without stopping for it."""
    if is_main():
        print(f"warning: {sentence}", file=sys.stderr)


class Checkpoints(Protocol):
    """A store of checkpoints, as reading parameters needs it."""

    def restore_part(self, step: int, abstract: dict[str, Any], /) -> dict[str, Any]:
        """Reads some top-level keys of a checkpoint."""
        ...


def load_params(store: Checkpoints, step: int, model: Model, mesh: Mesh) -> Params:
    """Reads the parameters alone of the checkpoint at `step`, whole on every device of `mesh`."""
    return restore_params(store, step, model, replicated(mesh))


def restore_params(store: Checkpoints, step: int, model: Model, shardings: Any) -> Params:
    """Reads the parameters alone of the checkpoint at `step`, to where `shardings` says."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return store.restore_part(step, {"params": placed(shapes, shardings)})["params"]

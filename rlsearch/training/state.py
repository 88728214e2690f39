"""What training carries from step to step: all of it is in a checkpoint."""

from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from rlsearch.parallel.mesh import data_sharding, replicated, row_keys
from rlsearch.training.stage import Params, Stage


class TrainState(NamedTuple):
    """The state of one stage. Random keys are folded from the run's seed and the step."""

    params: Params
    optimizer: Any
    memory: Any  # lanes: replay, games in progress; see `Stage`


def init_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    stage: Stage,
    key: jax.Array,
    *read: Params,
) -> TrainState:
    """The state in which a stage starts from `params`, beside those that it reads."""
    keys = row_keys(key, stage.num_keys)
    return TrainState(params, optimizer.init(params), stage.memory(beside(params, *read), keys))


def beside(own: Params, *read: Params) -> Any:
    """What a stage is given as parameters: its own, or the pair of its own and those it reads."""
    return (own, *read) if read else own


def state_shardings(mesh: Mesh) -> TrainState:
    """Where a state lives: every device has the parameters, and its own share of the lanes."""
    return TrainState(replicated(mesh), replicated(mesh), data_sharding(mesh))


def run_key(seed: int, stream: str, step: int | jax.Array) -> jax.Array:
    """The key of one step of one stream of randomness of a run."""
    streams = {"parameters": 0, "training": 1, "evaluation": 2, "memory": 3}
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), streams[stream]), step)

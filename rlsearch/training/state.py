"""What training carries from step to step: all of it is in a checkpoint."""

from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import AbstractMesh, Mesh

from rlsearch.config import ShardingRules
from rlsearch.parallel.mesh import data_sharding, replicated, row_keys
from rlsearch.parallel.sharding import param_shardings, placed
from rlsearch.runs.stage import Model, Params, Stage
from rlsearch.training.optimizer import make_optimizer


class TrainState(NamedTuple):
    """The state of one stage. Random keys are folded from the run's seed and the step."""

    params: Params
    optimizer: Any
    memory: Any  # lanes: replay, games in progress; see `Stage`


def stage_optimizer(stage: Stage) -> optax.GradientTransformation:
    """The optimiser of a stage, whose learning rate ends with it."""
    return make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)


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


def state_shardings(
    model: Model,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | AbstractMesh,
    rules: ShardingRules = ShardingRules(),
) -> TrainState:
    """Where a state lives: parameters as `rules` say, the optimiser's moments with them, and every
    lane on one share of the devices (one sharding for the whole memory)."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = param_shardings(model.logical_axes(), shapes, mesh, rules)
    moments = optax.tree.map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, shapes),
        params,
        transform_non_params=lambda _: replicated(mesh),
    )
    return TrainState(params, moments, data_sharding(mesh))


def abstract_state(
    stage: Stage, mesh: Mesh | AbstractMesh, rules: ShardingRules = ShardingRules()
) -> TrainState:
    """Shapes, dtypes and shardings of a stage's state, without a single array.

    What a checkpoint is restored to, and what a step is lowered with for devices that nobody has:
    `make_step(...).lower(abstract_state(...), jax.eval_shape(jax.random.key, 0))`.
    """
    key, optimizer = jax.random.key(0), stage_optimizer(stage)
    models = [stage.model, *(point.model for point in (stage.reads,) if point)]
    params, *read = (jax.eval_shape(model.init, key) for model in models)
    state = jax.eval_shape(
        lambda params, key, *read: init_state(params, optimizer, stage, key, *read),
        params,
        key,
        *read,
    )
    return placed(state, state_shardings(stage.model, optimizer, mesh, rules))


def run_key(seed: int, stream: str, step: int | jax.Array) -> jax.Array:
    """The key of one step of one stream of randomness of a run."""
    streams = {"parameters": 0, "training": 1, "evaluation": 2, "memory": 3}
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), streams[stream]), step)

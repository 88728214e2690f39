"""The state that training carries from step to step: all of it is in a checkpoint."""

from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import AbstractMesh, Mesh

from rlsearch.config import ShardingRules
from rlsearch.networks.by_name import of_names
from rlsearch.parallel.mesh import data_sharding, replicated, row_keys
from rlsearch.parallel.sharding import gathered, param_shardings, placed
from rlsearch.runs.stage import Model, Params, Stage, Weights
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
    weights: Weights, optimizer: optax.GradientTransformation, stage: Stage, key: jax.Array
) -> TrainState:
    """The state in which a stage starts from its weights."""
    keys = row_keys(key, stage.num_keys)
    moments = optimizer.init(of_names(weights.own, stage.optimizer.learnt))
    return TrainState(weights.own, moments, stage.memory(weights, keys))


def state_shardings(
    model: Model,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | AbstractMesh,
    rules: ShardingRules = ShardingRules(),
    names: tuple[str, ...] = (),
) -> TrainState:
    """The places of a state: parameters as `rules` say, the optimiser's moments with them, and
    every lane on one share of the devices (one sharding for the whole memory).

    Args:
        names: of the parameters that are learnt; see `OptimizerConfig.learnt`.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = param_shardings(model.logical_axes(), shapes, mesh, rules)
    moments = optax.tree.map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, of_names(shapes, names)),
        of_names(params, names),
        transform_non_params=lambda _: replicated(mesh),
    )
    return TrainState(params, moments, data_sharding(mesh))


def state_places(
    stage: Stage, mesh: Mesh | AbstractMesh, rules: ShardingRules = ShardingRules()
) -> TrainState:
    """The places of a stage's state; see `state_shardings`."""
    names = stage.optimizer.learnt
    return state_shardings(stage.model, stage_optimizer(stage), mesh, rules, names)


def read_shardings(model: Model, mesh: Mesh | AbstractMesh, rules: ShardingRules) -> Any:
    """The places of parameters that a stage reads and does not learn.

    They lie as searches read them: split over `model`, and whole otherwise.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return gathered(param_shardings(model.logical_axes(), shapes, mesh, rules))


def abstract_state(
    stage: Stage, mesh: Mesh | AbstractMesh, rules: ShardingRules = ShardingRules()
) -> TrainState:
    """Shapes, dtypes and shardings of a stage's state, without a single array.

    A checkpoint is restored to it, and a step is lowered with it for devices that nobody has:
    `make_step(...).lower(abstract_state(...), jax.eval_shape(jax.random.key, 0))`.
    """
    optimizer = stage_optimizer(stage)
    state = jax.eval_shape(
        lambda weights, key: init_state(weights, optimizer, stage, key),
        stage.abstract_weights(),
        jax.random.key(0),
    )
    return placed(state, state_places(stage, mesh, rules))


def run_key(seed: int, stream: str, step: int | jax.Array) -> jax.Array:
    """The key of one step of one stream of randomness of a run."""
    streams = {"parameters": 0, "training": 1, "evaluation": 2, "memory": 3}
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), streams[stream]), step)

"""One training step, as one donated `jax.jit`.

1. every problem is searched (or sampled, or drawn) from, on the device that holds it
2. the rows this gives are remembered
3. some remembered rows are learnt from
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from rlsearch.networks.language_model import LanguageModel
from rlsearch.objectives.step_targets import StepTargets, step_losses
from rlsearch.parallel.mesh import over_data, replicated, row_keys, split_over_data
from rlsearch.training.replay import add, sample
from rlsearch.training.stages import Stage
from rlsearch.training.state import TrainState

Step = Callable[[TrainState, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


def make_step(
    stage: Stage,
    model: LanguageModel,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    pad: int,
) -> Step:
    """Compiles nothing yet: returns `step(state, key) -> (state, metrics)`; `state` is donated.

    Raises:
        ValueError: see `check_split`.
    """
    check_split(stage, mesh)
    produce = over_data(mesh, stage.produce)

    def loss(params, rows: StepTargets):
        return step_losses(model, params, rows, pad)

    def step(state: TrainState, key: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        produce_key, sample_key = jax.random.split(key)
        with jax.named_scope("produce"):
            keys = row_keys(produce_key, stage.num_keys)
            rows, facts = produce(state.params, split_over_data(mesh, keys))
        replay = add(state.replay, rows)

        def update(carry, key):
            params, moments = carry
            batch = split_over_data(mesh, sample(replay, key, stage.batch_size))
            (_, losses), gradient = jax.value_and_grad(loss, has_aux=True)(params, batch)
            updates, moments = optimizer.update(gradient, moments, params)
            losses["gradient_norm"] = optax.tree.norm(gradient)
            return (optax.apply_updates(params, updates), moments), losses

        with jax.named_scope("update"):
            (params, moments), losses = jax.lax.scan(
                update,
                (state.params, state.optimizer),
                jax.random.split(sample_key, stage.updates_per_step),
            )
        metrics = jax.tree.map(jnp.mean, {**facts, **losses})
        return TrainState(params, moments, replay), metrics

    whole = replicated(mesh)
    return jax.jit(step, donate_argnums=0, out_shardings=whole)


def check_split(stage: Stage, mesh: Mesh) -> None:
    """Raises ValueError where the problems of a step cannot be split evenly over the mesh."""
    devices = mesh.devices.size
    if stage.num_keys % devices:
        raise ValueError(
            f"stage {stage.name!r} has {stage.num_keys} problems a step: they must be a multiple "
            f"of parallel.data, {devices}"
        )

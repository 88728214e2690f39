"""One training step, as one donated `jax.jit`.

1. every lane searches (or samples, or plays) on, on the device that holds it, and remembers
2. some of what is remembered is learnt from
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from rlsearch.parallel.mesh import over_data, row_keys, split_over_data
from rlsearch.training.stage import Params, Stage
from rlsearch.training.state import TrainState, beside, state_shardings

Step = Callable[..., tuple[TrainState, dict[str, jax.Array]]]


def make_step(stage: Stage, optimizer: optax.GradientTransformation, mesh: Mesh) -> Step:
    """Compiles nothing yet: returns `step(state, key) -> (state, metrics)`; `state` is donated.

    The step of a stage that reads parameters takes those behind the key.

    Raises:
        ValueError: see `check_split`.
    """
    check_split(stage, mesh)
    collect = over_data(mesh, stage.collect)

    def step(
        state: TrainState, key: jax.Array, *read: Params
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        collect_key, batch_key = jax.random.split(key)
        with jax.named_scope("collect"):
            keys = row_keys(collect_key, stage.num_keys)
            known = beside(state.params, *read)
            memory, facts = collect(known, state.memory, split_over_data(mesh, keys))

        def update(carry, key):
            params, moments = carry
            batch = split_over_data(mesh, stage.batch(memory, key))
            loss_key = jax.random.fold_in(key, 1)
            gradient, losses = jax.grad(
                lambda own: stage.loss(beside(own, *read), batch, loss_key), has_aux=True
            )(params)
            updates, moments = optimizer.update(gradient, moments, params)
            losses["gradient_norm"] = optax.tree.norm(gradient)
            return (optax.apply_updates(params, updates), moments), losses

        with jax.named_scope("update"):
            (params, moments), losses = jax.lax.scan(
                update,
                (state.params, state.optimizer),
                jax.random.split(batch_key, stage.updates_per_step),
            )
        metrics = jax.tree.map(jnp.mean, {**facts, **losses})
        return TrainState(params, moments, memory), metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(state_shardings(mesh), None))


def check_split(stage: Stage, mesh: Mesh) -> None:
    """Raises ValueError where the lanes of a step cannot be split evenly over the mesh."""
    devices = mesh.devices.size
    if stage.num_keys % devices:
        raise ValueError(
            f"stage {stage.name!r} runs {stage.num_keys} problems or games at once: they must be a "
            f"multiple of parallel.data, {devices}"
        )

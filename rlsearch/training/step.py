"""One training step, as one donated `jax.jit`.

1. every lane searches (or samples, or plays) on, on the devices that hold it, and remembers
2. some of what is remembered is learnt from

Parameters are sharded over `data` and `model`. In front of the searches they are gathered once
over `data`, so that no search waits for the devices of another; the update gathers each where it
is read.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, Mesh

from rlsearch.parallel.mesh import (
    batch_shards,
    data_sharding,
    over_data,
    replicated,
    row_keys,
    split_over_data,
)
from rlsearch.parallel.sharding import gathered
from rlsearch.runs.stage import Metrics, Params, Stage
from rlsearch.training.state import TrainState, beside

Step = Callable[..., tuple[TrainState, dict[str, jax.Array]]]


def make_step(
    stage: Stage,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | AbstractMesh,
    shardings: TrainState | None = None,
    accumulate: int = 1,
) -> Any:
    """Compiles nothing yet: returns `step(state, key) -> (state, metrics)`; `state` is donated.

    The step of a stage that reads parameters takes those behind the key.

    Args:
        shardings: of the state (`state_shardings`); by default only lanes are split.
        accumulate: parts of a minibatch, one after another, whose gradients are added up.

    Raises:
        ValueError: see `check_split`.
    """
    check_split(stage, mesh, accumulate)
    shardings = shardings or TrainState(replicated(mesh), replicated(mesh), data_sharding(mesh))
    collect = make_collect(stage, mesh, shardings.params)

    def gradient_of(params: Any, batch: Any, keys: jax.Array, *read: Params) -> tuple[Any, Any]:
        def loss(own: Params) -> tuple[jax.Array, Metrics]:
            return stage.loss(beside(own, *read), batch, keys)

        gradient, losses = jax.grad(loss, has_aux=True)(params)
        return jax.lax.with_sharding_constraint(gradient, shardings.params), losses

    def mean_gradient(params: Any, batch: Any, keys: jax.Array, *read: Params) -> tuple[Any, Any]:
        if accumulate == 1:
            return gradient_of(params, batch, keys, *read)

        def add(total: Any, part: Any) -> tuple[Any, Any]:
            gradient, losses = gradient_of(params, *part, *read)
            return jax.tree.map(jnp.add, total, gradient), losses

        # Every device cuts its own rows into parts.
        parts = jax.tree.map(
            lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), (batch, keys)
        )
        parts = split_over_data(mesh, parts, axis=1)
        total, losses = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), parts)
        return jax.tree.map(lambda x: x / accumulate, total), jax.tree.map(jnp.mean, losses)

    def step(
        state: TrainState, key: jax.Array, *read: Params
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        collect_key, batch_key = jax.random.split(key)
        memory, facts = collect(state.params, state.memory, collect_key, *read)

        def update(carry, key):
            params, moments = carry
            batch = split_over_data(mesh, stage.batch(memory, key))
            keys = row_keys(jax.random.fold_in(key, 1), stage.batch_size)
            keys = split_over_data(mesh, keys)
            gradient, losses = mean_gradient(params, batch, keys, *read)
            updates, moments = optimizer.update(gradient, moments, params)
            losses["gradient_norm"] = optax.tree.norm(gradient)
            return (optax.apply_updates(params, updates), moments), losses

        with jax.named_scope("update"), jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            (params, moments), losses = jax.lax.scan(
                update,
                (state.params, state.optimizer),
                jax.random.split(batch_key, stage.updates_per_step),
            )
        metrics = jax.tree.map(jnp.mean, {**facts, **losses})
        return TrainState(params, moments, memory), metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh)))


def make_collect(stage: Stage, mesh: Mesh | AbstractMesh, shardings: Any) -> Callable:
    """The first half of a step, `(params, memory, key) -> (memory, metrics [K])`, not jitted.

    That of a stage that reads parameters takes those behind the key.

    Args:
        shardings: of the parameters.
    """
    collect = over_data(mesh, stage.collect)

    @jax.named_scope("collect")
    def all_lanes(
        params: Params, memory: Any, key: jax.Array, *read: Params
    ) -> tuple[Any, Metrics]:
        keys = split_over_data(mesh, row_keys(key, stage.num_keys))
        params = jax.lax.with_sharding_constraint(params, gathered(shardings))
        return collect(beside(params, *read), memory, keys)

    return all_lanes


def check_split(stage: Stage, mesh: Mesh | AbstractMesh, accumulate: int = 1) -> None:
    """Raises ValueError where what a step does cannot be split evenly over the mesh."""
    shards = batch_shards(mesh)
    if stage.num_keys % shards:
        raise ValueError(
            f"stage {stage.name!r} runs {stage.num_keys} problems or games at once: they must be a "
            f"multiple of parallel.replica x data, {shards}"
        )
    if stage.batch_size % (shards * accumulate):
        raise ValueError(
            f"stage {stage.name!r} learns minibatches of {stage.batch_size} rows: they must be a "
            f"multiple of parallel.replica x data x accumulate, {shards * accumulate}"
        )

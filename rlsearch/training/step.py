"""One training step: one donated `jax.jit`, or two with the host's judgement between them.

1. every lane searches (or samples, or plays) on, on the devices that hold it
2. what it made is judged on the host, where the stage has a judge there
3. it is remembered, and some of what is remembered is learnt from

Parameters are sharded over `data` and `model`. In front of the searches they are gathered once
over `data`, in the dtype that they are computed with, so that no search waits for the devices of
another; the update gathers each where it is read.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, Mesh

from rlsearch.networks.by_name import joined, of_names
from rlsearch.parallel.mesh import (
    batch_shards,
    data_sharding,
    over_data,
    replicated,
    row_keys,
    split_over_data,
)
from rlsearch.parallel.sharding import among, gathered, placed_rows
from rlsearch.runs.stage import Metrics, Params, Stage, Weights
from rlsearch.training.judging import judge_rows
from rlsearch.training.state import TrainState

# Of the state (donated), a key, the parameters that are read, and the step's host rows.
Step = Callable[..., tuple[TrainState, dict[str, jax.Array]]]


def make_step(
    stage: Stage,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | AbstractMesh,
    shardings: TrainState | None = None,
    accumulate: int = 1,
) -> Any:
    """Compiles nothing yet: returns `step(state, key, read={}, fed=None) -> (state, metrics)`.

    `state` is donated; `read` are the parameters that the stage reads, by their role; `fed` are
    the host rows of the step.

    Args:
        shardings: of the state (`state_shardings`); by default only lanes are split.
        accumulate: parts of a minibatch, one after another, whose gradients are added up.

    Raises:
        ValueError: see `check_split`.
    """
    check_split(stage, mesh, accumulate)
    shardings = shardings or TrainState(replicated(mesh), replicated(mesh), data_sharding(mesh))
    produce = make_produce(stage, mesh, shardings.params)
    learn = make_learn(stage, optimizer, mesh, shardings, accumulate)

    if stage.judge is not None:
        halves = jax.jit(produce), jax.jit(learn, donate_argnums=0, out_shardings=(shardings, None))
        return functools.partial(_judged_step, stage, mesh, halves)

    def step(
        state: TrainState, key: jax.Array, read: Mapping[str, Params] = {}, fed: Any = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        return learn(state, produce(state, key, read, fed), None, key, read)

    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh)))


def _judged_step(
    stage: Stage,
    mesh: Mesh | AbstractMesh,
    halves: tuple[Callable, Callable],
    state: TrainState,
    key: jax.Array,
    read: Mapping[str, Params] = {},
    fed: Any = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes a step in two halves, with the host's judgement between them."""
    produce, learn = halves
    produced = produce(state, key, read, fed)
    assert stage.judge is not None and isinstance(mesh, Mesh), "a judge is asked on real devices"
    judged = placed_rows(mesh, judge_rows(stage.judge, produced), stage.num_keys)
    return learn(state, produced, judged, key, read)


def make_produce(stage: Stage, mesh: Mesh | AbstractMesh, shardings: Any) -> Callable:
    """The first half of a step, `(state, key, read, fed) -> produced`, not jitted.

    Args:
        shardings: of the parameters.
    """
    produce = over_data(mesh, stage.produce)

    @jax.named_scope("collect")
    def all_lanes(
        state: TrainState, key: jax.Array, read: Mapping[str, Params] = {}, fed: Any = None
    ) -> Any:
        keys = split_over_data(mesh, row_keys(jax.random.split(key)[0], stage.num_keys))
        computed = stage.model.computed(state.params)  # before they are gathered: fewer bytes
        # Adapters, where there are any, are in the weights now.
        whole = gathered(among(shardings, computed))
        own = jax.lax.with_sharding_constraint(computed, whole)
        others = {role: stage.reads[role].model.computed(read[role]) for role in read}
        return produce(Weights(own, others), state.memory, keys, fed)

    return all_lanes


def make_learn(
    stage: Stage,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | AbstractMesh,
    shardings: TrainState,
    accumulate: int,
) -> Callable:
    """The second half of a step, `(state, produced, judged, key, read) -> (state, metrics)`, not
    jitted."""
    gradient = mean_gradient(stage, mesh, shardings.params, accumulate)
    names = stage.optimizer.learnt
    remember = over_data(mesh, lambda _, *rows: stage.remember(*rows))

    def learn(
        state: TrainState, produced: Any, judged: Any, key: jax.Array, read: Mapping[str, Params]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        with jax.named_scope("collect"):
            verdict = None if judged is None else judged.verdict
            memory, facts = remember((), state.memory, produced, verdict)
            if judged is not None:
                facts = {**facts, "judge_failures": judged.failed.astype(jnp.float32)}

        def update(carry, each):
            (changed, moments), (key, number) = carry, each
            batch = split_over_data(mesh, stage.batch(memory, key, number))
            keys = row_keys(jax.random.fold_in(key, 1), stage.batch_size)
            keys = split_over_data(mesh, keys)
            weights = Weights(joined(changed, state.params), read)
            found, losses = gradient(weights, batch, keys)
            updates, moments = optimizer.update(found, moments, changed)
            losses["gradient_norm"] = optax.tree.norm(found)
            return (optax.apply_updates(changed, updates), moments), losses

        with jax.named_scope("update"), jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            keys = jax.random.split(jax.random.split(key)[1], stage.updates_per_step)
            (changed, moments), losses = jax.lax.scan(
                update,
                (of_names(state.params, names), state.optimizer),
                (keys, jnp.arange(stage.updates_per_step)),
            )
        metrics = jax.tree.map(jnp.mean, {**facts, **losses})
        return TrainState(joined(changed, state.params), moments, memory), metrics

    return learn


def mean_gradient(
    stage: Stage, mesh: Mesh | AbstractMesh, shardings: Any, accumulate: int
) -> Callable:
    """A minibatch's gradient and metrics, `(weights, batch, keys) -> (gradient, metrics)`.

    The gradient is of the parameters that are learnt.

    Args:
        shardings: of the parameters.
        accumulate: see `make_step`.
    """

    names = stage.optimizer.learnt
    one = isinstance(shardings, jax.sharding.Sharding)  # of all parameters
    places = shardings if one else of_names(shardings, names)

    def of_part(weights: Weights, batch: Any, keys: jax.Array) -> tuple[Any, Any]:
        def loss(changed: Params) -> tuple[jax.Array, Metrics]:
            return stage.loss(weights._replace(own=joined(changed, weights.own)), batch, keys)

        gradient, losses = jax.grad(loss, has_aux=True)(of_names(weights.own, names))
        return jax.lax.with_sharding_constraint(gradient, places), losses

    def of_parts(weights: Weights, batch: Any, keys: jax.Array) -> tuple[Any, Any]:
        def add(total: Any, part: Any) -> tuple[Any, Any]:
            gradient, losses = of_part(weights, *part)
            return jax.tree.map(jnp.add, total, gradient), losses

        # Every device cuts its own rows into parts.
        parts = jax.tree.map(
            lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), (batch, keys)
        )
        parts = split_over_data(mesh, parts, axis=1)
        none = jax.tree.map(jnp.zeros_like, of_names(weights.own, names))
        total, losses = jax.lax.scan(add, none, parts)
        return jax.tree.map(lambda x: x / accumulate, total), jax.tree.map(jnp.mean, losses)

    return of_part if accumulate == 1 else of_parts


def check_split(stage: Stage, mesh: Mesh | AbstractMesh, accumulate: int = 1) -> None:
    """Raises ValueError where a step's work cannot be split evenly over the mesh."""
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

"""Stages that learn from the newest of the rows that they make: drawn evenly, with replacement."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from rlsearch.config import OptimizerConfig
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.stage import CheckpointRef, Metrics, Model, Stage, StageFlops, Weights
from rlsearch.stages.replay import Replay, add, empty_replay, sample

Produce = Callable[[Weights, jax.Array], tuple[Any, Metrics]]


class Ring(NamedTuple):
    """The size of a stage that learns from its newest rows."""

    num_keys: int  # K, problems or solutions a step
    replay_size: int  # rows kept, a multiple of those of a step
    batch_size: int  # R, rows of a minibatch
    updates_per_step: int  # minibatches learnt from a step
    optimizer: OptimizerConfig


class Learning(NamedTuple):
    """The way to learn from rows."""

    weigh: Callable[[Any], Any]  # of a whole minibatch: weights become means per unit of weight
    loss: Callable[[Weights, Any, jax.Array], tuple[jax.Array, Metrics]]  # see `Stage`


class Origin(NamedTuple):
    """A stage's name and length, and the parameters that it starts from and reads."""

    name: str
    num_steps: int
    start: CheckpointRef | None = None
    reads: dict[str, CheckpointRef] = {}


def ring_stage(
    origin: Origin,
    model: Model,
    ring: Ring,
    produce: Produce,
    learning: Learning,
    flops: StageFlops,
) -> Stage:
    """Builds a stage whose rows come from `produce`: of weights and `[K]` keys to rows and metrics
    `[K]`."""

    def memory(weights: Weights, keys: jax.Array) -> Replay:
        del weights, keys
        shapes = row_shapes()
        return empty_replay(shapes, ring.replay_size // jax.tree.leaves(shapes)[0].shape[0])

    def batch(replay: Replay, key: jax.Array, update: jax.Array) -> Any:
        del update
        return learning.weigh(sample(replay, key, ring.batch_size))

    stage = Stage(
        name=origin.name,
        model=model,
        start=origin.start,
        num_steps=origin.num_steps,
        num_keys=ring.num_keys,
        memory=memory,
        produce=lambda weights, memory, keys, fed: produce(weights, keys),
        remember=remember_rows,
        batch=batch,
        loss=learning.loss,
        batch_size=ring.batch_size,
        updates_per_step=ring.updates_per_step,
        optimizer=ring.optimizer,
        flops_per_step=flops,
        reads=origin.reads,
    )

    @functools.cache  # tracing a search takes seconds: once, however often the stage is started
    def row_shapes() -> Any:
        keys = jax.eval_shape(lambda key: row_keys(key, ring.num_keys), jax.random.key(0))
        return jax.eval_shape(lambda *x: lanes(produce(*x)[0]), stage.abstract_weights(), keys)

    return stage


def lanes(rows: Any) -> Any:
    """One row a lane: leaves `[B, ...]` to `[B, 1, ...]`."""
    return jax.tree.map(lambda x: x[:, None], rows)


def remember_rows(
    replay: Replay, produced: tuple[Any, Metrics], judged: None
) -> tuple[Replay, Metrics]:
    """Writes new rows over the oldest ones of their lanes."""
    del judged
    rows, metrics = produced
    return add(replay, lanes(rows)), metrics

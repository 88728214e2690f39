"""Stages that learn from the newest of the rows that they make: drawn evenly, with replacement."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import OptimizerConfig
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.stage import (
    CheckpointRef,
    HostJudge,
    Metrics,
    Model,
    Stage,
    StageFlops,
    Weights,
)
from rlsearch.stages.replay import Replay, add, empty_replay, sample


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


class OnHost(NamedTuple):
    """The parts of a stage that the host has: rows that it feeds, and judgements that it makes."""

    judge: HostJudge
    rows: Callable[[Any, Any], tuple[Any, Metrics]]  # of what is produced, and judgements `[K]`
    feed: Callable[[int], Any] | None = None  # see `Stage`


def ring_stage(
    origin: Origin,
    model: Model,
    ring: Ring,
    produce: Callable[..., Any],
    learning: Learning,
    flops: StageFlops,
    host: OnHost | None = None,
) -> Stage:
    """Builds a stage that learns from its newest rows.

    Args:
        produce: of weights, `[K]` keys and, where the host feeds any, its rows to new rows and
            metrics `[K]`; or, where the host judges, to what `host.rows` makes such rows of.
    """

    def made(weights: Weights, keys: jax.Array, fed: Any) -> Any:
        return produce(weights, keys) if fed is None else produce(weights, keys, fed)

    def rows_of(produced: Any, verdict: Any) -> tuple[Any, Metrics]:
        return produced if host is None else host.rows(produced, verdict)

    def memory(weights: Weights, keys: jax.Array) -> Replay:
        del weights, keys
        shapes = row_shapes()
        return empty_replay(shapes, ring.replay_size // jax.tree.leaves(shapes)[0].shape[0])

    def remember(replay: Replay, produced: Any, verdict: Any) -> tuple[Replay, Metrics]:
        rows, metrics = rows_of(produced, verdict)
        return add(replay, lanes(rows)), metrics

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
        produce=lambda weights, memory, keys, fed: made(weights, keys, fed),
        remember=remember,
        batch=batch,
        loss=learning.loss,
        batch_size=ring.batch_size,
        updates_per_step=ring.updates_per_step,
        optimizer=ring.optimizer,
        flops_per_step=flops,
        reads=origin.reads,
        judge=host.judge if host else None,
        feed=host.feed if host else None,
    )

    @functools.cache  # tracing a search takes seconds: once, however often the stage is started
    def row_shapes() -> Any:
        def all_rows(weights: Weights, keys: jax.Array, fed: Any, failed: Any) -> Any:
            verdict = jax.tree.map(
                lambda x: jnp.broadcast_to(jnp.asarray(x), (ring.num_keys, *jnp.shape(x))), failed
            )
            return lanes(rows_of(made(weights, keys, fed), verdict)[0])

        keys = jax.eval_shape(lambda key: row_keys(key, ring.num_keys), jax.random.key(0))
        with jax.ensure_compile_time_eval():  # it may be asked for while a step is traced
            fed = host.feed(0) if host and host.feed else None
        failed = host.judge.failed if host else None
        return jax.eval_shape(all_rows, stage.abstract_weights(), keys, fed, failed)

    return stage


def lanes(rows: Any) -> Any:
    """One row a lane: leaves `[B, ...]` to `[B, 1, ...]`."""
    return jax.tree.map(lambda x: x[:, None], rows)

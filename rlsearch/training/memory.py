"""The memory that a stage surely needs, known before its step is traced: what cannot fit is said at
once, with the field that shrinks it.

Only what grows with a field without end is counted: parameters with their two moments, the trees of
a search, and the games that self-play remembers. A step may need more; `rlsearch plan` says all.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh

from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import batch_shards
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.replay_fields import sizes_of
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.self_play import SelfPlay
from rlsearch.stages.tree_distillation import TreeDistillation

MOMENTS = 2  # of AdamW, beside the parameters
FLOAT = 4  # bytes


def check_memory(lineage: Lineage, mesh: Mesh, available: Callable[[Any], float | None]) -> None:
    """Raises ValueError for a stage that cannot fit, before anything of it is traced.

    Args:
        available: the bytes of a device; None where they are not known.
    """
    room = available(mesh.devices.flat[0])
    if room is None:
        return
    trained = [stage for stage in lineage.config.stages if stage.ends_with != "rows"]
    for stage in trained:
        for field, needed in surely_needed(lineage, stage, mesh):
            if needed > room:
                raise ValueError(
                    f"{field} is too large: with it stage {stage.name!r} needs at least "
                    f"{_gib(needed)} on each device, which has {_gib(room)}"
                )


def surely_needed(lineage: Lineage, stage: Any, mesh: Mesh) -> Iterator[tuple[str, float]]:
    """Bytes on one device, each with the field that they grow with."""
    shards, split = batch_shards(mesh), mesh.shape["data"] * mesh.shape["model"]
    own = f"{stage.name}." if hasattr(stage, "model") else ""
    depth = "num_blocks" if isinstance(stage, SelfPlay) else "num_layers"
    parameters = num_params(lineage.model(stage.name), depth)
    yield f"{own}model.{depth}", (1 + MOMENTS) * FLOAT * parameters / split
    if isinstance(stage, SearchDistillation | TreeDistillation):
        nodes = stage.teaching.num_problems * (stage.search.num_simulations + 1)
        tree = nodes * _line_bytes(lineage, stage)
        yield f"{stage.name}.search.num_simulations", tree / shards
    if isinstance(stage, SelfPlay):
        state = _bytes(jax.eval_shape(stage.environment.reset, jax.random.key(0)))
        _, size = sizes_of(stage)
        remembered = stage.num_games * stage.replay_moves * state
        yield f"{stage.name}.{size.remembered}", remembered / shards
        edges = stage.environment.num_actions * 6 * FLOAT  # the statistics of mctx
        tree = stage.num_games * (stage.search.num_simulations + 1) * (state + edges)
        yield f"{stage.name}.search.num_simulations", tree / shards


def num_params(model: Any, depth: str) -> float:
    """The parameters of a network, from two shallow ones: a deep one takes minutes to trace."""
    layers = getattr(getattr(model, "config", None), depth, 0)
    if layers < 3:
        return model.num_params()
    one, two = (
        dataclasses.replace(
            model, config=dataclasses.replace(model.config, **{depth: layers})
        ).num_params()
        for layers in (1, 2)
    )
    return one + (layers - 1) * (two - one)


def device_memory(device: Any) -> float | None:
    """The bytes of a device, of the host where that is the device; None where they are not known.

    Several devices of one host share its memory.
    """
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    if device.platform != "cpu":
        return None
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
    except OSError:
        return None
    total = float(lines["MemTotal"].split()[0]) * 1024
    return total / jax.local_device_count()


def _line_bytes(lineage: Lineage, stage: Any) -> float:
    """Bytes of one half-written solution with its keys and values: what a tree keeps of a node."""
    policy = lineage.policy(stage.name)
    prompts = jax.ShapeDtypeStruct((1, lineage.task.prompt_length), "int32")
    params = jax.eval_shape(policy.model.init, jax.random.key(0))
    draft = jax.eval_shape(lambda params, x: Writer(policy, params).start(x), params, prompts)
    return _bytes(draft.line)


def _bytes(arrays: Any) -> float:
    return float(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(arrays)))


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"

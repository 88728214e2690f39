"""The fields of a config that decide how large a step is."""

import dataclasses
from typing import Any

from rlsearch.config import Experiment, Pretrained
from rlsearch.stages.replay_fields import Size, sizes_of

# Parts of the temporaries that have a name.
TEMPORARY = ("search tree", "KV cache", "gathered parameters", "batch")


def split_evenly(config: Experiment, shards: int) -> tuple[dict[str, list[int]], Experiment]:
    """The config with as many problems, games and rows of a minibatch for every device as for any
    other: a number that is no multiple of the devices becomes the next multiple.

    Args:
        shards: the number of shares that a batch is split into.

    Returns:
        What was changed, from and to, by field, and the config.
    """
    changed: dict[str, list[int]] = {}
    stages = []
    for stage in config.stages:
        group, size = sizes_of(stage)
        before = getattr(stage, group) if group else stage
        raised = _raised(before, size, shards, shards * config.parallel.accumulate)
        after = dataclasses.replace(before, **raised)
        stages.append(dataclasses.replace(stage, **{group: after}) if group else after)
        prefix = f"{stage.name}.{group}." if group else f"{stage.name}."
        changed |= {f"{prefix}{name}": [getattr(before, name), raised[name]] for name in raised}
    return changed, dataclasses.replace(config, stages=tuple(stages))


def _raised(before: Any, size: Size, shards: int, rows: int) -> dict[str, int]:
    """The fields that have to be larger."""
    factors = {size.at_once: shards, "batch_size": rows}
    raised = {
        name: _multiple(getattr(before, name), factor)
        for name, factor in factors.items()
        if getattr(before, name, 0) % factor  # a stage that writes rows has no minibatches
    }
    at_once = raised.get(size.at_once)
    if at_once is not None and size.rows_of_one:
        each = at_once * size.rows_of_one
        if getattr(before, size.remembered) % each:
            raised[size.remembered] = _multiple(getattr(before, size.remembered), each)
    return raised


def _multiple(size: int, of: int) -> int:
    """The smallest multiple of `of` that is not below `size`."""
    return -(-size // of) * of


def shrinking_field(
    config: Experiment, stage: str, needs: dict[str, float], busiest: str
) -> dict[str, Any]:
    """The largest term of what a device holds, and the field of the config that shrinks it.

    Args:
        busiest: the part of a step that needs the most temporaries. Where none that has a name is
            a large share of them, they are what an update keeps for its backward pass, or what
            searching and playing work on.
    """
    settings = next(found for found in config.stages if found.name == stage)
    group, size = sizes_of(settings)
    prefix = f"{stage}.{group}." if group else f"{stage}."
    own = getattr(settings, "model", None)
    shape = own or config.model
    blocks = "num_blocks" if hasattr(shape, "num_blocks") else "num_layers"
    blocks = f"{stage}.model.{blocks}" if own else f"model.{blocks}"
    blocks = "model.folder" if isinstance(shape, Pretrained) else blocks
    large = "parallel.replica" if config.parallel.replica > 1 else blocks
    fields = {
        "parameters": large,
        "optimiser": large,
        "replay": f"{prefix}{size.remembered}",
        "search tree": f"{stage}.search.num_simulations",
        "KV cache": f"{prefix}{size.at_once}",
        "gathered parameters": "parallel.model",
        "read parameters": "parallel.model",
        "batch": f"{prefix}batch_size",
        "activations": "parallel.accumulate",
        "temporaries of collecting": f"{prefix}{size.at_once}",
    }
    temporaries = needs.get("temporaries", 0.0)
    part = max(TEMPORARY, key=lambda name: needs.get(name, 0.0))
    if needs.get(part, 0.0) < temporaries / 4:
        part = "activations" if busiest == "update" else "temporaries of collecting"
    terms = {name: needs.get(name, 0.0) for name in fields if name not in TEMPORARY}
    terms[part] = temporaries
    largest = max(terms, key=lambda name: terms[name])
    return {"term": largest, "bytes": terms[largest], "field": fields[largest]}

"""Which fields of a config decide how large a step is."""

import dataclasses
from typing import Any

from rlsearch.config import DistillConfig, RevisionConfig, SelfPlayExperiment
from rlsearch.config_file import AnyExperiment

# Of each stage: its group in the config, what it runs at once, and what it remembers.
_FIELDS = {
    "base": ("pretrain", "batch_size", "batch_size"),
    "distilled": ("distill", "num_problems", "replay_size"),
    "control": ("distill", "num_problems", "replay_size"),
    "revision": ("revision", "num_problems", "replay_size"),
    "orm": ("verifier", "num_solutions", "replay_size"),
    "prm": ("verifier", "num_solutions", "replay_size"),
    "self_play": ("self_play", "num_games", "replay_moves"),
}
# Parts of the temporaries that have a name.
TEMPORARY = ("search tree", "KV cache", "gathered parameters", "batch")


def split_evenly(config: AnyExperiment, shards: int) -> tuple[dict[str, list[int]], AnyExperiment]:
    """The config with as many problems, games and rows of a minibatch for every device as for any
    other: what is too few, or no multiple of the devices, becomes the next multiple.

    Args:
        shards: into how many a batch is split.

    Returns:
        What was changed, from and to, by field, and the config.
    """
    rows = shards * config.parallel.accumulate
    wanted: dict[str, dict[str, int]] = {}  # of what each field has to be a multiple
    if isinstance(config, SelfPlayExperiment):
        wanted["self_play"] = {"num_games": shards, "batch_size": rows}
    else:
        if not config.verifier.policy_run:
            wanted["pretrain"] = {"batch_size": rows}
            if config.distill.enabled:
                wanted["distill"] = {"num_problems": shards, "batch_size": rows}
        if config.revision.enabled:
            wanted["revision"] = {"num_problems": shards, "batch_size": rows}
        if config.verifier.train:
            wanted["verifier"] = {"num_solutions": shards, "batch_size": rows}
    changed: dict[str, list[int]] = {}
    for group, factors in wanted.items():
        before = getattr(config, group)
        raised = {
            name: _multiple(getattr(before, name), factor)
            for name, factor in factors.items()
            if getattr(before, name) % factor
        }
        problems = raised.get("num_problems", raised.get("num_solutions"))
        if problems is not None and before.replay_size % (each := problems * _rows_of_one(before)):
            raised["replay_size"] = _multiple(before.replay_size, each)
        changed |= {f"{group}.{name}": [getattr(before, name), raised[name]] for name in raised}
        config = dataclasses.replace(config, **{group: dataclasses.replace(before, **raised)})
    return changed, config


def _rows_of_one(group: Any) -> int:
    """Rows of the replay that one problem, or solution, makes in a step."""
    if isinstance(group, DistillConfig):
        return 1 + group.critic_samples + group.traces
    return group.num_samples if isinstance(group, RevisionConfig) else 1


def _multiple(size: int, of: int) -> int:
    """The smallest multiple of `of` that is not below `size`."""
    return -(-size // of) * of


def shrinking_field(
    config: AnyExperiment, stage: str, needs: dict[str, float], busiest: str
) -> dict[str, Any]:
    """The largest term of what a device holds, and the field of the config that shrinks it.

    Args:
        busiest: the part of a step that needs the most temporaries. Where none that has a name is
            a large share of them, they are what an update keeps for its backward pass, or what
            searching and playing work on.
    """
    group, at_once, remembered = _FIELDS[stage]
    blocks = "model.num_blocks" if isinstance(config, SelfPlayExperiment) else "model.num_layers"
    size = "parallel.replica" if config.parallel.replica > 1 else blocks
    fields = {
        "parameters": size,
        "optimiser": size,
        "replay": f"{group}.{remembered}",
        "search tree": "search.num_simulations",
        "KV cache": f"{group}.{at_once}",
        "gathered parameters": "parallel.model",
        "read parameters": "parallel.model",
        "batch": f"{group}.batch_size",
        "activations": "parallel.accumulate",
        "temporaries of collecting": f"{group}.{at_once}",
    }
    temporaries = needs.get("temporaries", 0.0)
    part = max(TEMPORARY, key=lambda name: needs.get(name, 0.0))
    if needs.get(part, 0.0) < temporaries / 4:
        part = "activations" if busiest == "update" else "temporaries of collecting"
    terms = {name: needs.get(name, 0.0) for name in fields if name not in TEMPORARY}
    terms[part] = temporaries
    largest = max(terms, key=lambda name: terms[name])
    return {"term": largest, "bytes": terms[largest], "field": fields[largest]}

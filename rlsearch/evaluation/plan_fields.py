"""Which fields of a config decide how large a step is."""

import dataclasses
from typing import Any

from rlsearch.config import SelfPlayExperiment
from rlsearch.config_file import AnyExperiment

# Of each stage: its group in the config, what it runs at once, and what it remembers.
_FIELDS = {
    "base": ("pretrain", "batch_size", "batch_size"),
    "distilled": ("distill", "num_problems", "replay_size"),
    "control": ("distill", "num_problems", "replay_size"),
    "orm": ("verifier", "num_solutions", "replay_size"),
    "prm": ("verifier", "num_solutions", "replay_size"),
    "self_play": ("self_play", "num_games", "replay_moves"),
}
# Parts of the temporaries that have a name.
TEMPORARY = ("search tree", "KV cache", "gathered parameters", "batch")


def at_least_one_each(
    config: AnyExperiment, shards: int
) -> tuple[dict[str, list[int]], AnyExperiment]:
    """The config with a problem, a game and a row of a minibatch for every device at least.

    Args:
        shards: into how many a batch is split.

    Returns:
        What was changed, from and to, by field, and the config.
    """
    rows = shards * config.parallel.accumulate
    wanted: dict[str, dict[str, int]] = {}
    if isinstance(config, SelfPlayExperiment):
        wanted["self_play"] = {"num_games": shards, "batch_size": rows}
    else:
        if not config.verifier.policy_run:
            wanted["pretrain"] = {"batch_size": rows}
            if config.distill.enabled:
                wanted["distill"] = {"num_problems": shards, "batch_size": rows}
        if config.verifier.train:
            wanted["verifier"] = {"num_solutions": shards, "batch_size": rows}
    changed: dict[str, list[int]] = {}
    for group, least in wanted.items():
        before = getattr(config, group)
        raised = {name: least[name] for name in least if getattr(before, name) < least[name]}
        if "num_problems" in raised:
            each = raised["num_problems"] * (1 + before.critic_samples + before.traces)
            raised["replay_size"] = _multiple(before.replay_size, each)
        if "num_solutions" in raised:
            raised["replay_size"] = _multiple(before.replay_size, raised["num_solutions"])
        changed |= {f"{group}.{name}": [getattr(before, name), raised[name]] for name in raised}
        config = dataclasses.replace(config, **{group: dataclasses.replace(before, **raised)})
    return changed, config


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

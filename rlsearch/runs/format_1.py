"""Configs of format 1, in which every stage was a field with a fixed name, as those of format 2.

A pure function from dictionary to dictionary. It knows the defaults that format 1 had, so that a
file in which a field is left out is read as it was then.
"""

from collections.abc import Mapping
from typing import Any

from rlsearch.config_data import ConfigError
from rlsearch.text import shortened

Data = dict[str, Any]

OPTIMIZER = {
    "learning_rate": 2e-3,
    "final_fraction": 0.05,
    "warmup_steps": 100,
    "beta2": 0.98,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
}
FINE = OPTIMIZER | {"learning_rate": 1e-3, "warmup_steps": 20}
SEARCH = {
    "policy": "gumbel",
    "actions": "steps",
    "num_simulations": 24,
    "num_candidates": 12,
    "value_scale": 0.1,
    "max_visit_init": 50.0,
    "gumbel_scale": 1.0,
    "puct_constant": 1.25,
    "dirichlet_fraction": 0.0,
    "dirichlet_alpha": 0.3,
    "temperature": 1.0,
    "min_p": 0.01,
}
MOVES = SEARCH | {
    "actions": "moves",
    "num_simulations": 32,
    "num_candidates": 16,
    "value_scale": 0.5,
}
GROUPS: dict[str, Data] = {
    "task": {
        "cls": "rlsearch.tasks.game24:Game24",
        "split": "random",
        "num_held_out": 100,
        "split_seed": 24,
        "num_numbers": 4,
        "largest": 13,
        "num_operations": 12,
        "mistake_share": 0.0,
        "max_goal": 100,
        "fraction_weight": 0.1,
        "num_examples": 0,
        "data_dir": "",
    },
    "pretrain": {"num_steps": 500, "batch_size": 256, "contrast": 0.4, "optimizer": OPTIMIZER},
    "search": SEARCH,
    "distill": {
        "enabled": True,
        "num_steps": 60,
        "num_problems": 128,
        "task_fraction": 0.5,
        "other_goal_fraction": 0.0,
        "num_targets": 4,
        "decisions_per_search": 1,
        "critic_samples": 1,
        "traces": 1,
        "unsolved_weight": 0.0,
        "replay_size": 3840,
        "updates_per_step": 2,
        "batch_size": 256,
        "optimizer": FINE,
    },
    "control": {"enabled": True, "num_samples": 24},
    "revision": {
        "enabled": False,
        "policy": "base",
        "num_steps": 200,
        "num_problems": 16,
        "num_samples": 16,
        "replay_size": 8192,
        "updates_per_step": 2,
        "batch_size": 64,
        "optimizer": FINE,
    },
    "verifier": {
        "train": [],
        "policy": "base",
        "policy_run": "",
        "network": "own",
        "model": {},
        "labels": "exact",
        "aggregation": "prod",
        "num_steps": 400,
        "num_solutions": 128,
        "replay_size": 12800,
        "updates_per_step": 2,
        "batch_size": 256,
        "optimizer": OPTIMIZER | {"learning_rate": 1e-3},
    },
    "evaluation": {
        "strategies": ["greedy", "best_of_n", "tree_search"],
        "budgets": [1, 4, 16, 64],
        "seeds": [0, 1, 2],
        "sequential": 4,
    },
    "environment": {
        "cls": "rlsearch.environments.pgx_game:PgxGame",
        "game": "tic_tac_toe",
        "reward_scale": 1.0,
        "discount": 1.0,
        "max_moves": 0,
    },
}
# The fields that a task of the package has of those that all shared.
TASK_FIELDS = {
    "rlsearch.tasks.game24:Game24": (
        *("split", "num_held_out", "split_seed", "max_goal", "fraction_weight", "data_dir"),
    ),
    "rlsearch.tasks.countdown:Countdown": (
        *("num_held_out", "split_seed", "num_numbers", "largest", "max_goal", "fraction_weight"),
    ),
    "rlsearch.tasks.arithmetic:Arithmetic": (
        *("num_held_out", "split_seed", "num_operations", "largest", "mistake_share"),
    ),
}
TASK_FIELDS["rlsearch.tasks.direct_arithmetic:DirectArithmetic"] = TASK_FIELDS[
    "rlsearch.tasks.arithmetic:Arithmetic"
]
COMMON = ("name", "seed", "parallel", "log", "profile")


def upgraded(config: Mapping[str, Any]) -> Data:
    """The same experiment as data of format 2.

    Raises:
        ConfigError: if it is of an unknown kind, or a group of fields is none.
    """
    kind = config.get("kind", "language")
    if kind not in ("language", "self_play"):
        raise ConfigError(f"kind is {shortened(kind)}: it must be language or self_play")
    of_kind = _games if kind == "self_play" else _language
    known = {*COMMON, "kind", "model", "play", "self_play", *GROUPS}
    unknown = [name for name in config if name not in known]
    if unknown:
        raise ConfigError(f"{shortened(unknown[0])} is no field of format 1")
    return {name: config[name] for name in COMMON if name in config} | of_kind(config)


def _group(config: Mapping[str, Any], name: str, defaults: Data | None = None) -> Data:
    """A group of fields, those left out with the defaults of then."""
    given = config.get(name, {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} is {shortened(given)}: it must be a group of fields")
    found = (GROUPS[name] if defaults is None else defaults) | dict(given)
    for inner in ("optimizer",):
        if inner in found and isinstance(given.get(inner), Mapping):
            base = (GROUPS[name] if defaults is None else defaults)[inner]
            found[inner] = base | dict(given[inner])
    return found


def _with(data: Mapping[str, Any], *names: str) -> Data:
    return {name: data[name] for name in names if name in data}


def _language(config: Mapping[str, Any]) -> Data:
    task, evaluation = _group(config, "task"), _group(config, "evaluation")
    cls, examples = task["cls"], task.pop("num_examples")
    own = TASK_FIELDS.get(cls) if isinstance(cls, str) else None
    stages = [] if _group(config, "verifier")["policy_run"] else _policies(config)
    result: Data = {
        "task": task if own is None else {"cls": cls, **_with(task, *own)},
        "model": config.get("model", {}),
        "stages": [*stages, *_verifiers(config)],
        "evaluation": [
            {
                "cls": "rlsearch.studies.accuracy:Accuracy",
                "strategies": [_strategy(name) for name in evaluation["strategies"]],
                **{
                    name: evaluation[name]
                    for name in ("budgets", "seeds", "sequential")
                    if evaluation[name] != GROUPS["evaluation"][name]
                },
            }
        ],
    }
    if examples:
        result["prompting"] = {
            "cls": "rlsearch.tasks.prompting:FewShot",
            "num_examples": examples,
        }
    return result


def _policies(config: Mapping[str, Any]) -> list[Data]:
    pretrain, distill = _group(config, "pretrain"), _group(config, "distill")
    control, revision = _group(config, "control"), _group(config, "revision")
    stages: list[Data] = [{"cls": "rlsearch.stages.traces:Traces", "name": "base", **pretrain}]
    if distill["enabled"]:
        teaching = {
            **_with(distill, "num_problems", "task_fraction", "other_goal_fraction"),
            **_with(distill, "critic_samples", "traces"),
            "contrast": pretrain["contrast"],
            **_with(distill, "replay_size", "updates_per_step", "batch_size", "optimizer"),
        }
        stages.append(
            {
                "cls": "rlsearch.stages.search_distillation:SearchDistillation",
                **{"name": "distilled", "start": "base", "num_steps": distill["num_steps"]},
                "search": _group(config, "search"),
                **_with(distill, "num_targets", "decisions_per_search", "unsolved_weight"),
                "teaching": teaching,
            }
        )
        if control["enabled"]:
            stages.append(
                {
                    "cls": "rlsearch.stages.expert_iteration:ExpertIteration",
                    **{"name": "control", "start": "base", "num_steps": 0},
                    **{"flops_of": "distilled", "num_samples": control["num_samples"]},
                    "teaching": teaching,
                }
            )
    if revision.pop("enabled"):
        start = revision.pop("policy")
        stages.append(
            {
                "cls": "rlsearch.stages.revision:Revision",
                **{"name": "revision", "start": start},
                **revision,
            }
        )
    return stages


def _verifiers(config: Mapping[str, Any]) -> list[Data]:
    settings = _group(config, "verifier")
    names, labels = settings.pop("train"), settings.pop("labels")
    run, aggregation = settings.pop("policy_run"), settings.pop("aggregation")
    policy = settings.pop("policy")
    if not isinstance(names, list | tuple):
        raise ConfigError(f"verifier.train is {shortened(names)}: it must be a list of texts")
    stages = []
    for name in names:
        module = "rlsearch.stages.verifier"
        source: Data = {"cls": f"{module}:Outcomes"}
        if name != "orm":
            source = {"cls": f"{module}:ExactSteps"}
            if labels != "exact":
                source = {"cls": f"{module}:LabelsFrom", "folder": labels}
        stages.append(
            {
                "cls": f"{module}:Verifier",
                "name": name,
                "policy": f"{run}/{policy}" if run else policy,
                "labels": source,
                "aggregation": "last" if name == "orm" else aggregation,
                **settings,
            }
        )
    return stages


def _strategy(name: Any) -> Data:
    if not isinstance(name, str) or len(name) > 200:
        raise ConfigError(f"evaluation.strategies has {shortened(name)}: it must be a name")
    if ":" in name:
        return {"cls": name}
    word = "".join(part.capitalize() for part in name.split("_"))
    return {"cls": f"rlsearch.strategies.{name}:{word}"}


def _games(config: Mapping[str, Any]) -> Data:
    settings = config.get("self_play", {})
    if not isinstance(settings, Mapping):
        raise ConfigError(f"self_play is {shortened(settings)}: it must be a group of fields")
    played = MOVES | {"num_simulations": 128, "gumbel_scale": 0.0}
    return {
        "stages": [
            {
                "cls": "rlsearch.stages.self_play:SelfPlay",
                "name": "self_play",
                "environment": _group(config, "environment"),
                "model": config.get("model", {}),
                "search": _group(config, "search", MOVES),
                "play": _group(config, "play", played),
                **settings,
            }
        ]
    }

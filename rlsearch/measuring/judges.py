"""Opening a verifier by its name: one of the package, one that a run has trained, or the user's."""

import dataclasses
from typing import Any

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import Experiment, ParallelConfig
from rlsearch.config_file import nearest
from rlsearch.networks.head import Head
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.opening import read_run
from rlsearch.runs.parameters import load_params, warn
from rlsearch.training.setup import Setup, judged_policy, make_setup, policy_stages
from rlsearch.training.verifiers import verifier_model
from rlsearch.verifiers.aggregate import AGGREGATIONS
from rlsearch.verifiers.base import NAMES, Verifier, load_verifier
from rlsearch.verifiers.head import HeadVerifier
from rlsearch.verifiers.label_files import read_about
from rlsearch.verifiers.network import NetworkVerifier


def open_verifier(
    name: str,
    directory: RunDirectory,
    config: Experiment,
    setup: Setup,
    aggregation: str = "",
    code: str = "",
) -> Verifier:
    """The verifier `name`, for what the policies of a run write.

    Args:
        name: of `rlsearch.verifiers` (`value_head`), of a verifier that the run has trained
            (`prm`), of one that another run has (`runs/other/prm`), or `module:Class`.
        aggregation: instead of the verifier's own way to make one score of those of the steps.

    Raises:
        ValueError: if there is none, or it cannot judge what this run writes.
    """
    if aggregation and aggregation not in AGGREGATIONS:
        raise ValueError(f"aggregation is {aggregation!r}: it must be {', '.join(AGGREGATIONS)}")
    run_dir, slash, stage = name.rpartition("/")
    if slash and ":" not in name:
        verifier = other_runs(name, run_dir, stage, directory, config, setup, code)
    elif name in config.verifier.train:
        verifier = trained(name, name, directory, config, setup)
    elif name in NAMES or ":" in name:
        verifier = load_verifier(name, setup.task)
    else:
        known = [*NAMES, *config.verifier.train]
        close = nearest(name, known)
        hint = f"; the nearest is {close}" if close else ""
        raise ValueError(
            f"verifier is {name!r}: it must be {', '.join(known)}, RUN/NAME of another run's, or "
            f"module:Class{hint}"
        )
    return with_aggregation(verifier, aggregation) if aggregation else verifier


def with_aggregation(verifier: Any, aggregation: str) -> Any:
    """A verifier with another way to make one score of those of the steps."""
    try:
        return dataclasses.replace(verifier, aggregation=aggregation)
    except TypeError as error:
        raise ValueError(
            f"aggregation is {aggregation!r}: verifier {verifier.label!r} has its own, and no "
            "field in which to be given another"
        ) from error


def trained(
    name: str, label: str, directory: RunDirectory, config: Experiment, setup: Setup
) -> NetworkVerifier | HeadVerifier:
    """A verifier that a run has trained.

    Raises:
        ValueError: if its training is not over.
    """
    before = sum(stage.num_steps for stage in policy_stages(config, setup))
    step = before + config.verifier.num_steps * (config.verifier.train.index(name) + 1)
    own = config.verifier.network == "own"
    policy = setup.model if own else judged_policy(config, setup).model
    model = verifier_model(config.verifier, policy)
    with CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn) as store:
        if step not in store.steps():
            raise ValueError(
                f"verifier is {label!r}: its training is not over in {str(directory.path)!r}"
            )
        params = load_params(store, step, model, make_mesh(ParallelConfig(data=1)))
    aggregation = "last" if name == "orm" else config.verifier.aggregation
    if isinstance(model, Head):
        return HeadVerifier(params, model, label, config.verifier.policy, aggregation)
    return NetworkVerifier(params, model, label, aggregation)  # pyright: ignore


def training_of(name: str, config: Experiment, code: str) -> dict[str, Any]:
    """What a trained verifier has learnt from, and what that took; nothing of any other.

    `generations` are the solutions and completions that a policy wrote for its labels; None where
    their folder is no longer there.
    """
    run_dir, slash, stage = name.rpartition("/")
    if slash and ":" not in name:
        _, other = read_run(run_dir, code)
        assert isinstance(other, Experiment), "it has been opened"
        config = other
    if (stage or name) not in config.verifier.train:
        return {}
    settings, exact = config.verifier, config.verifier.labels == "exact"
    made = {"kind": "outcomes" if stage == "orm" else "exact"}
    made["spent"] = settings.num_steps * settings.num_solutions  # pyright: ignore
    if stage == "prm" and not exact:
        made = read_about(settings.labels) or {}
    return {
        "labels": made.get("kind", settings.labels),
        "generations": made.get("spent"),
        "network": settings.network,
    }


def other_runs(
    label: str,
    run_dir: str,
    name: str,
    directory: RunDirectory,
    config: Experiment,
    setup: Setup,
    code: str,
) -> NetworkVerifier | HeadVerifier:
    """A verifier of another run, for the policies of this one."""
    other_directory, other = read_run(run_dir, code)
    if not isinstance(other, Experiment):
        raise ValueError(f"verifier is {label!r}: that run is one of {other.kind}, not of language")
    if name not in other.verifier.train:
        has = ", ".join(other.verifier.train) or "none"
        raise ValueError(f"verifier is {label!r}: that run has trained {has}")
    other_setup = make_setup(other)
    check_same_language(label, other, other_setup, config, setup)
    if other.verifier.network == "head":
        home = other.verifier.policy_run or run_dir
        if RunDirectory(home, create=False).path.resolve() != directory.path.resolve():
            raise ValueError(
                f"verifier is {label!r}: it is a head on the trunk of a policy of {home!r}, and "
                "makes no sense on another"
            )
    return trained(name, label, other_directory, other, other_setup)


def check_same_language(
    label: str, other: Experiment, other_setup: Setup, config: Experiment, setup: Setup
) -> None:
    """Raises ValueError where a verifier was made for another task than the policies of this run,
    or reads other words."""
    if other.task.cls != config.task.cls:
        raise ValueError(
            f"verifier is {label!r}: it judges {other.task.cls}, and this run is of "
            f"{config.task.cls}"
        )
    its, ours = other_setup.task, setup.task
    if its.tokenizer.index != ours.tokenizer.index:
        raise ValueError(
            f"verifier is {label!r}: it has another tokenizer, of {its.vocab_size} words where "
            f"this run has {ours.vocab_size}"
        )
    for field in ("prompt_length", "solution_length", "num_steps", "max_step_length"):
        if getattr(its, field) != getattr(ours, field):
            raise ValueError(
                f"verifier is {label!r}: its {field} is {getattr(its, field)}, and that of this "
                f"run is {getattr(ours, field)}"
            )


def check_judges(verifier: Verifier, policies: list[str]) -> None:
    """Raises ValueError where one of `policies` has not the trunk that a head was trained on."""
    if isinstance(verifier, HeadVerifier):
        strange = [name for name in policies if name != verifier.policy]
        if strange:
            raise ValueError(
                f"verifier is {verifier.label!r}: it is a head on the trunk of policy "
                f"{verifier.policy!r}, not of {strange[0]!r}: give --policies {verifier.policy}"
            )

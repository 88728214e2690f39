"""Opening a run: its config is data, and nothing that it names is imported from elsewhere."""

import dataclasses
from typing import Any

from etils import epath

from rlsearch.config import Experiment, Pretrained
from rlsearch.config_data import ConfigError, from_data
from rlsearch.config_file import load_code
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.format_1 import upgraded
from rlsearch.text import shortened

FORMAT = 3  # of config.json
CONTROL = "rlsearch.stages.expert_iteration:ExpertIteration"


def read_run(run_dir: str, code: str = "") -> tuple[RunDirectory, Experiment, tuple[str, ...]]:
    """Reads what a run is of.

    Args:
        code: a Python file whose classes the config may name; all others must be the package's.

    Returns:
        The run's files, its config, and the modules whose classes it may name.

    Raises:
        FileNotFoundError: if there is no run in the directory.
        ValueError: if the config names a class from elsewhere.
    """
    modules = (load_code(code),) if code else ()
    return RunDirectory(run_dir, create=False), read_config(run_dir, modules), modules


def read_config(run_dir: str, modules: tuple[str, ...] = ()) -> Experiment:
    """Reads the config of a run; see `read_run`."""
    config = saved_config(RunDirectory(run_dir, create=False), modules)
    if config is None:
        raise FileNotFoundError(f"run is {shortened(run_dir)}: there is no config.json in it")
    return config


def saved_config(directory: RunDirectory, modules: tuple[str, ...] = ()) -> Experiment | None:
    """The config in the directory of a run, or None where there is none.

    Raises:
        ValueError: if it is damaged, or no experiment; the file is named.
    """
    saved = directory.read_config()
    try:
        return None if saved is None else experiment_of(saved, modules)
    except ConfigError as error:
        raise ConfigError(f"{directory.config}: {error}") from error


def experiment_of(saved: dict[str, Any], modules: tuple[str, ...] = ()) -> Experiment:
    """The experiment that a config.json of any format describes.

    Raises:
        ConfigError: if it has an unknown format or field, or names a class of other modules.
    """
    saved = dict(saved)
    number = saved.pop("format", 1)
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise ConfigError(
            f"format is {shortened(number)}: it must be a whole number up to {FORMAT}"
        )
    return from_data(Experiment, _today(saved, number), modules)


def with_data_dir(config: Experiment, data_dir: str) -> Experiment:
    """`config` with the task's files in `data_dir`; empty: where they were.

    Raises:
        ValueError: if the task reads no files.
    """
    if not data_dir:
        return config
    if not _reads_files(config.task):
        raise ValueError(
            f"data_dir is {shortened(data_dir)}: the task {type(config.task).__name__} reads no "
            "files"
        )
    return dataclasses.replace(config, task=dataclasses.replace(config.task, data_dir=data_dir))


def without_places(config: Experiment) -> Experiment:
    """`config` that does not say where the task's files, and an open model's folder, were."""
    changes: dict[str, Any] = {}
    if _reads_files(config.task):
        changes["task"] = dataclasses.replace(config.task, data_dir="")
    if isinstance(config.model, Pretrained):
        name = epath.Path(config.model.folder).name
        changes["model"] = dataclasses.replace(config.model, folder=name or "model")
    return dataclasses.replace(config, **changes)


def _reads_files(task: Any) -> bool:
    fields = dataclasses.fields(task) if dataclasses.is_dataclass(task) else ()
    return "data_dir" in [field.name for field in fields]


def flat_fields(saved: dict[str, Any]) -> dict[str, Any]:
    """The plain fields of a config.json of any format, by their paths; no class is looked for.

    A value among several is named by its `name`, or by its class.
    """
    saved = dict(saved)
    number = saved.pop("format", 1)
    return _flat(_today(saved, number), "")


def _today(saved: dict[str, Any], number: int) -> dict[str, Any]:
    """What was saved in format `number`, in the newest."""
    if number == 1:
        saved = upgraded(saved)
    if number in (1, 2) and isinstance(saved.get("stages"), list):
        # A control had no field for it, and counted what its teacher spends on empty places too.
        stages = [
            {"flops_with_empty": True, **stage}
            if isinstance(stage, dict) and stage.get("cls") == CONTROL
            else stage
            for stage in saved["stages"]
        ]
        saved = saved | {"stages": stages}
    return _scaling(saved)


def _scaling(data: Any) -> Any:
    """`data` whose transformers say whether they scale embeddings: before there was a field for it,
    those did that have one matrix for reading and writing."""
    if isinstance(data, list):
        return [_scaling(x) for x in data]
    if not isinstance(data, dict):
        return data
    found = {name: _scaling(value) for name, value in data.items()}
    if "tie_embeddings" in found:
        found.setdefault("scale_embeddings", found["tie_embeddings"])
    return found


def _flat(data: Any, prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        several = isinstance(value, list) and value and all(isinstance(x, dict) for x in value)
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif several:
            for item in value:
                own = item.get("name", str(item.get("cls")).rpartition(":")[2])
                flat |= _flat(item, f"{prefix}{own}.")
        else:
            flat[prefix + str(name)] = value
    return flat

"""Opening a run: its config is data, and nothing that it names is imported from elsewhere."""

from typing import Any

from rlsearch.config import Experiment, SelfPlayExperiment
from rlsearch.config_file import from_dict, load_code
from rlsearch.runs.directory import RunDirectory
from rlsearch.text import shortened


def read_run(run_dir: str, code: str = "") -> tuple[RunDirectory, Experiment | SelfPlayExperiment]:
    """Reads what a run is of.

    Args:
        code: a Python file whose classes the config may name; all others must be the package's.

    Raises:
        FileNotFoundError: if there is no run in the directory.
        ValueError: if the config names a class from elsewhere.
    """
    modules = trusted_modules(code)
    directory = RunDirectory(run_dir, create=False)
    saved = directory.read_config()
    if saved is None:
        raise FileNotFoundError(f"run is {shortened(run_dir)}: there is no config.json in it")
    return directory, trusted_config(saved, modules)


def trusted_modules(code: str = "") -> tuple[str, ...]:
    """The modules whose classes a config that is data may name; see `read_run`."""
    return ("rlsearch", load_code(code)) if code else ("rlsearch",)


def trusted_config(
    saved: dict[str, Any], modules: tuple[str, ...]
) -> Experiment | SelfPlayExperiment:
    """The config that `saved` describes.

    Raises:
        ValueError: if it has an unknown field, or names a class of other modules.
    """
    config = from_dict(saved)
    for field, name in named_classes(config):
        if name.partition(":")[0].partition(".")[0] not in modules:
            raise ValueError(
                f"{field} is {shortened(name)}: reading a run imports rlsearch.* only, "
                "and what --code FILE defines"
            )
    return config


def named_classes(config: Experiment | SelfPlayExperiment) -> list[tuple[str, str]]:
    """The fields in which a config names classes as `module:Class`, each with what it says."""
    if isinstance(config, SelfPlayExperiment):
        return [("environment.cls", config.environment.cls)]
    strategies = [name for name in config.evaluation.strategies if ":" in name]
    return [("task.cls", config.task.cls), *(("evaluation.strategies", x) for x in strategies)]

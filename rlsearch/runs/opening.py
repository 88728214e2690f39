"""Opening a run: its config is data, and nothing that it names is imported from elsewhere."""

from typing import Any

from rlsearch.config import Experiment, SelfPlayExperiment
from rlsearch.config_file import from_dict, load_code
from rlsearch.runs.directory import RunDirectory


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
        raise FileNotFoundError(f"run is {run_dir!r}: there is no config.json in it")
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
    language = isinstance(config, Experiment)
    field, cls = ("task", config.task.cls) if language else ("environment", config.environment.cls)
    if cls.partition(":")[0].partition(".")[0] not in modules:
        raise ValueError(
            f"{field}.cls is {cls!r}: reading a run imports rlsearch.* only, "
            "and what --code FILE defines"
        )
    return config

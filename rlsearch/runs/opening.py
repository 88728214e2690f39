"""Opening a run: its config is data, and nothing that it names is imported from elsewhere."""

from rlsearch.config import SelfPlayExperiment
from rlsearch.config_file import AnyExperiment, ConfigError, from_dict, load_code
from rlsearch.runs.directory import RunDirectory
from rlsearch.text import shortened


def read_run(run_dir: str, code: str = "") -> tuple[RunDirectory, AnyExperiment]:
    """Reads what a run is of.

    Args:
        code: a Python file whose classes the config may name; all others must be the package's.

    Raises:
        FileNotFoundError: if there is no run in the directory.
        ValueError: if the config names a class from elsewhere.
    """
    modules = trusted_modules(code)
    directory = RunDirectory(run_dir, create=False)
    config = saved_config(directory)
    if config is None:
        raise FileNotFoundError(f"run is {shortened(run_dir)}: there is no config.json in it")
    check_trusted(config, modules)
    return directory, config


def saved_config(directory: RunDirectory) -> AnyExperiment | None:
    """The config in the directory of a run, or None where there is none.

    Raises:
        ValueError: if it is damaged, or has a field that there is none of; the file is named.
    """
    saved = directory.read_config()
    try:
        return None if saved is None else from_dict(saved)
    except ConfigError as error:
        raise ConfigError(f"{directory.config}: {error}") from error


def trusted_modules(code: str = "") -> tuple[str, ...]:
    """The modules whose classes a config that is data may name; see `read_run`."""
    return ("rlsearch", load_code(code)) if code else ("rlsearch",)


def check_trusted(config: AnyExperiment, modules: tuple[str, ...]) -> None:
    """Raises `ValueError` where a config that is data names a class of other modules."""
    for field, name in named_classes(config):
        if name.partition(":")[0].partition(".")[0] not in modules:
            raise ValueError(
                f"{field} is {shortened(name)}: reading a run imports rlsearch.* only, "
                "and what --code FILE defines"
            )


def named_classes(config: AnyExperiment) -> list[tuple[str, str]]:
    """The fields in which a config names classes as `module:Class`, each with what it says."""
    if isinstance(config, SelfPlayExperiment):
        return [("environment.cls", config.environment.cls)]
    strategies = [name for name in config.evaluation.strategies if ":" in name]
    return [("task.cls", config.task.cls), *(("evaluation.strategies", x) for x in strategies)]

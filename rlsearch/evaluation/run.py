"""Opening a run: its config is data, and nothing that it names is imported from elsewhere."""

from typing import Any

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import Experiment, ParallelConfig, SelfPlayExperiment
from rlsearch.config_file import from_dict, load_code
from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.parallel.mesh import make_mesh
from rlsearch.training.loop import load_params, warn
from rlsearch.training.run_directory import RunDirectory
from rlsearch.training.setup import make_board


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


def open_board(
    run_dir: str, code: str = ""
) -> tuple[RunDirectory, SelfPlayExperiment, Environment, BoardModel]:
    """Opens a run of self-play; see `read_run`."""
    directory, config = read_run(run_dir, code)
    if not isinstance(config, SelfPlayExperiment):
        raise ValueError(f"run is {run_dir!r}: it is a run of {config.kind}, not of self-play")
    environment, model = make_board(config)
    return directory, config, environment, model


def board_steps(directory: RunDirectory, config: SelfPlayExperiment) -> list[int]:
    """Steps of the checkpoints that are complete, ascending.

    Raises:
        ValueError: if there is none yet.
    """
    with CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn) as store:
        steps = store.steps()
    if not steps:
        raise ValueError(f"run is {str(directory.path)!r}: it has no checkpoint yet")
    return steps


def board_params(
    directory: RunDirectory, config: SelfPlayExperiment, model: BoardModel, step: int
) -> Params:
    """The parameters at `step`, on one device, whatever mesh the run was trained on."""
    with CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn) as store:
        return load_params(store, step, model, make_mesh(ParallelConfig(data=1)))

"""Opening a run of self-play: its game, its network, and the parameters of a checkpoint."""

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import ParallelConfig, SelfPlayExperiment
from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.opening import read_run
from rlsearch.runs.parameters import load_params, warn
from rlsearch.training.setup import make_board


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

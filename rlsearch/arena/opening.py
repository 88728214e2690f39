"""Opening a run of self-play: its game, its network, and the parameters of a checkpoint."""

import dataclasses

from rlsearch.config import Experiment, ParallelConfig, SearchConfig
from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.checkpoints import stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.opening import read_run
from rlsearch.runs.parameters import load_params
from rlsearch.stages.self_play import SelfPlay
from rlsearch.text import shortened


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedGame:
    """A run of self-play."""

    directory: RunDirectory
    lineage: Lineage
    stage: SelfPlay

    @property
    def config(self) -> Experiment:
        """The run's config."""
        return self.lineage.config

    @property
    def environment(self) -> Environment:
        """The game."""
        return self.stage.environment

    @property
    def model(self) -> BoardModel:
        """The shape of the network."""
        return self.stage.network

    @property
    def search(self) -> SearchConfig:
        """The search of a player after training."""
        return self.stage.play

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are complete, ascending.

        Raises:
            ValueError: if there is none yet.
        """
        with stage_checkpoints(self.directory, self.lineage, self.stage.name) as checkpoints:
            steps = checkpoints.steps()
        if not steps:
            raise ValueError(f"run is {str(self.directory.path)!r}: it has no checkpoint yet")
        return steps

    def params(self, step: int) -> Params:
        """Reads the parameters at `step`, to one device, whatever mesh the run was trained on."""
        with stage_checkpoints(self.directory, self.lineage, self.stage.name) as checkpoints:
            return load_params(checkpoints, step, self.model, make_mesh(ParallelConfig(data=1)))


def open_game(run_dir: str, code: str = "") -> OpenedGame:
    """Opens a run of self-play; see `read_run`."""
    directory, config, modules = read_run(run_dir, code)
    stages = [stage for stage in config.stages if stage.ends_with == "player"]
    if not stages:
        raise ValueError(f"run is {shortened(run_dir)}: it is a run of language, not of self-play")
    return OpenedGame(directory, Lineage(config, modules), stages[-1])


def is_game(config: Experiment) -> bool:
    """Tells whether an experiment is one of games, and not of language."""
    return any(stage.ends_with == "player" for stage in config.stages)

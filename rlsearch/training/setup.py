"""From a config to the objects that training, evaluation and the benchmarks share."""

import dataclasses

from rlsearch.config import (
    EnvironmentConfig,
    Experiment,
    SelfPlayExperiment,
    TaskConfig,
    find_class,
)
from rlsearch.decoding.steps import StepFormat
from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel
from rlsearch.networks.language_model import LanguageModel
from rlsearch.tasks.base import Task
from rlsearch.training.language import language_stages
from rlsearch.training.self_play import self_play_stage
from rlsearch.training.stage import Model, Stage


@dataclasses.dataclass(frozen=True)
class Setup:
    """A task, the shape of a model for it, and the format of its solutions."""

    task: Task
    model: LanguageModel
    form: StepFormat


def load_task(config: TaskConfig) -> Task:
    """Builds the task that `config.cls` names as `module:Class`.

    Raises:
        ValueError: if there is no such class.
    """
    found = find_class(config.cls)
    if found is None:
        raise ValueError(f"task.cls is {config.cls!r}: there is no such class; write module:Class")
    return found(config)


def make_setup(config: Experiment) -> Setup:
    """Builds everything but the weights."""
    task = load_task(config.task)
    form = StepFormat(
        num_steps=task.num_steps,
        max_step_length=task.max_step_length,
        max_length=task.solution_length,
        end_of_step=task.end_of_step,
        pad=task.pad,
        grammar=task.grammar,
        end_of_solution=task.end_of_solution,
    )
    return Setup(task, LanguageModel(config.model, task.vocab_size), form)


def load_environment(config: EnvironmentConfig) -> Environment:
    """Builds the environment that `config.cls` names as `module:Class`.

    Raises:
        ValueError: if there is no such class.
    """
    found = find_class(config.cls)
    if found is None:
        raise ValueError(
            f"environment.cls is {config.cls!r}: there is no such class; write module:Class"
        )
    return found(config)


def make_board(config: SelfPlayExperiment) -> tuple[Environment, BoardModel]:
    """Builds the game and the shape of a model for it."""
    environment = load_environment(config.environment)
    shape, actions = environment.observation_shape, environment.num_actions
    return environment, BoardModel(config.model, shape, actions)


def model_and_stages(config: Experiment | SelfPlayExperiment) -> tuple[Model, tuple[Stage, ...]]:
    """What training needs of an experiment of either kind."""
    if isinstance(config, SelfPlayExperiment):
        environment, model = make_board(config)
        return model, (self_play_stage(config, environment, model),)
    setup = make_setup(config)
    return setup.model, language_stages(config, setup.task, setup.model, setup.form)

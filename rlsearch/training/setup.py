"""From a config to the objects that training, evaluation and the benchmarks share."""

import dataclasses

from rlsearch.classes import Kind, find_class
from rlsearch.config import (
    EnvironmentConfig,
    Experiment,
    SelfPlayExperiment,
    TaskConfig,
)
from rlsearch.config_file import from_dict
from rlsearch.decoding.steps import StepFormat
from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel
from rlsearch.networks.language_model import LanguageModel
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.stage import Checkpoint, Model, Stage
from rlsearch.tasks.base import Task
from rlsearch.tasks.prompting import FewShot
from rlsearch.training.language import language_stages
from rlsearch.training.revisions import revision_stages
from rlsearch.training.self_play import self_play_stage
from rlsearch.training.verifiers import verifier_stages


@dataclasses.dataclass(frozen=True)
class Setup:
    """A task, the shape of a model for it, and the format of its solutions."""

    task: Task
    model: LanguageModel
    form: StepFormat


def load_task(config: TaskConfig) -> Task:
    """Builds the task that `config.cls` names as `module:Class`, with its examples in the prompt.

    Raises:
        ValueError: if there is no such class.
    """
    kind = Kind(Task, optional=("step_labels", "label_steps"))
    task = find_class("task.cls", config.cls, kind)(config)
    return FewShot(task, config.num_examples) if config.num_examples else task  # pyright: ignore


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
    return find_class("environment.cls", config.cls, Kind(Environment))(config)


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
    policies = policy_stages(config, setup)
    return setup.model, (*policies, *trained_verifiers(config, setup))


def policy_stages(config: Experiment, setup: Setup) -> tuple[Stage, ...]:
    """The stages that end with a policy; none where a run is of the verifiers of another's."""
    if config.verifier.policy_run:
        return ()
    parts = config, setup.task, setup.model, setup.form
    stages = language_stages(*parts)
    return (*stages, *revision_stages(*parts, stages))


def trained_verifiers(config: Experiment, setup: Setup) -> tuple[Stage, ...]:
    """The stages that end with a verifier."""
    if not config.verifier.train:
        return ()
    return verifier_stages(config, setup.task, setup.form, judged_policy(config, setup))


def judged_policy(config: Experiment, setup: Setup) -> Checkpoint:
    """The policy whose solutions the verifiers learn to judge.

    Raises:
        FileNotFoundError: if there is no run where it is said to be.
        ValueError: if that run has no such policy, or is of another task.
    """
    run, name = config.verifier.policy_run, config.verifier.policy
    if run:
        saved = RunDirectory(run, create=False).read_config()
        if saved is None:
            raise FileNotFoundError(
                f"verifier.policy_run is {run!r}: there is no config.json in it"
            )
        other = from_dict(saved)
        if not isinstance(other, Experiment) or not same_task(other.task, config.task):
            raise ValueError(
                f"verifier.policy_run is {run!r}: it must be a run of the same task, {config.task}"
            )
        config, setup = other, make_setup(other)
    steps, total = {}, 0
    for stage in policy_stages(config, setup):
        total += stage.num_steps
        steps[stage.name] = total
    if name not in steps:
        where = f"the run {run!r}" if run else "this experiment"
        raise ValueError(f"verifier.policy is {name!r}: {where} has {', '.join(steps) or 'none'}")
    return Checkpoint(setup.model, steps[name], run)


def same_task(one: TaskConfig, other: TaskConfig) -> bool:
    """Whether two runs are of one task: only where its files lie may differ."""
    return dataclasses.replace(one, data_dir="") == dataclasses.replace(other, data_dir="")

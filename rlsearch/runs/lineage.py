"""Lineage: what is there before a stage of a run, and where each stage ended.

The one place that knows how stages follow one another. It builds tasks and the shapes of models,
and no stage: names and numbers of steps are read off the config.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast, runtime_checkable

from etils import epath

from rlsearch.classes import class_name, nearest
from rlsearch.config import Experiment, Pretrained, TransformerConfig
from rlsearch.decoding.language import Language, in_words, read_language
from rlsearch.decoding.policy import Policy, SolutionFormat
from rlsearch.networks.language_model import LanguageModel
from rlsearch.paths import absolute, exists
from rlsearch.runs.opening import read_config
from rlsearch.runs.stage import CheckpointRef, Model, StageConfig
from rlsearch.tasks.base import Task
from rlsearch.text import shortened
from rlsearch.verifiers.base import NAMES

PRETRAINED = "pretrained"  # in place of a stage's name: an open model as it came
REFERENCES = ("start", "policy", "flops_of", "verifier")  # fields in which a stage names another


def is_name(ref: Any) -> bool:
    """Tells whether a reference is a plain name, of a stage of the same run."""
    return isinstance(ref, str) and bool(ref) and not set("/:") & set(ref)


@runtime_checkable
class DerivedLength(Protocol):
    """A stage whose number of steps follows from other stages."""

    def length(self, lineage: "Lineage") -> int:
        """The number of its training steps."""
        ...


@runtime_checkable
class OwnShape(Protocol):
    """A stage that trains another network than the policy of its name."""

    def shape(self, lineage: "Lineage") -> Model:
        """The network that it trains."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Lineage:
    """The stages of one experiment, and those of other runs that they refer to.

    A reference is the name of a stage before, or RUN/STAGE of another run.

    Raises:
        ValueError: if a stage refers to one that is not before it.
    """

    config: Experiment
    modules: tuple[str, ...] = ()  # beside the package's: whose classes other runs may name
    directory: str = ""  # the run's; empty where it has none yet

    def __post_init__(self):
        before = [PRETRAINED] if isinstance(self.config.model, Pretrained) else []
        for stage in self.config.stages:
            for field in REFERENCES:
                ref, others = getattr(stage, field, ""), NAMES if field == "verifier" else ()
                if is_name(ref) and ref not in (*before, *others):
                    close = nearest(ref, before)
                    hint = f"; the nearest is {close}" if close else ""
                    raise ValueError(
                        f"{stage.name}.{field} is {shortened(ref)}: it must be a stage before it, "
                        f"{', '.join(before) or 'and it is the first'}{hint}"
                    )
            before.append(stage.name)

    @functools.cached_property
    def task(self) -> Task:
        """The task, with what stands in front of its problems."""
        if self.config.task is None:
            raise ValueError("task is not set: this experiment has stages that need one")
        task, prompting = self.config.task, self.config.prompting
        if self._language is not None:
            return cast(Task, in_words(task, prompting, self._language))
        if not hasattr(task, "draw_task_problem"):
            raise ValueError(
                f"task is {class_name(task)}, in words: it needs a model that is Pretrained"
            )
        if prompting and not hasattr(prompting, "prompted"):
            raise ValueError(
                f"prompting is {class_name(prompting)}: it is for a model that is Pretrained"
            )
        return prompting.prompted(task) if prompting else task

    @functools.cached_property
    def _language(self) -> Language | None:
        """The shape and the tokenizer of an open model, if the experiment has one."""
        model = self.config.model
        return read_language(model) if isinstance(model, Pretrained) else None

    @functools.cached_property
    def format(self) -> SolutionFormat:
        """The format of the task's solutions."""
        if self._language is not None:
            return self._language.format
        task = self.task
        return SolutionFormat(
            num_steps=task.num_steps,
            max_step_length=task.max_step_length,
            max_length=task.solution_length,
            step_ends=(task.end_of_step,),
            pad=task.pad,
            grammar=task.grammar,
            solution_ends=() if task.end_of_solution < 0 else (task.end_of_solution,),
        )

    def stage(self, name: str) -> Any:
        """The settings of the stage `name`.

        Raises:
            ValueError: if there is none.
        """
        return self.config.stages[self._index(name)]

    def _index(self, name: str) -> int:
        names = [stage.name for stage in self.config.stages]
        if name not in names:
            close = nearest(name, names)
            hint = f"; the nearest is {close}" if close else ""
            raise ValueError(
                f"stage is {shortened(name)}: this experiment has {', '.join(names)}{hint}"
            )
        return names.index(name)

    def num_steps(self, name: str) -> int:
        """The number of training steps of a stage."""
        stage = self.stage(name)
        return stage.length(self) if isinstance(stage, DerivedLength) else stage.num_steps

    def ends(self) -> dict[str, int]:
        """The number of steps of the run that are done when each stage is over, by its name."""
        total, found = 0, {}
        for stage in self.config.stages:
            total += self.num_steps(stage.name)
            found[stage.name] = total
        return found

    def of_kind(self, ends_with: str) -> tuple[str, ...]:
        """The names of the stages that end with a "policy", a "judge", "rows" or a "player"."""
        return tuple(s.name for s in self.config.stages if s.ends_with == ends_with)

    def default_policy(self, among: Iterable[str]) -> str:
        """The policy that is taken where none is named: the last that a search has taught, else
        the last of all.

        Args:
            among: names, in the order of their stages.
        """
        names = list(among)
        stages = {stage.name: stage for stage in self.config.stages}
        taught = [name for name in names if getattr(stages.get(name), "is_default", False)]
        return (taught or names)[-1]

    def policy(self, ref: str) -> Policy:
        """The policy that a stage ends with, or the one that it judges: no weights.

        Stages of the same shape share one, so that programs compile once.
        """
        if ref == PRETRAINED:
            return self._policy_of(self._network)
        _, stage, lineage = self._resolved(ref)
        if lineage is not self:
            return self._policy_of(lineage.policy(stage.name).model)
        if stage.ends_with in ("judge", "rows"):
            return self.policy(stage.policy)
        own = getattr(stage, "model", None)
        if own is not None:
            return self._policy_of(LanguageModel(own, self.task.vocab_size))
        if stage.start:
            return self.policy(stage.start)
        return self._policy_of(self._network)

    @functools.cached_property
    def _network(self) -> LanguageModel:
        """The network of all stages that have none of their own."""
        if self._language is not None:
            return self._language.model
        assert isinstance(self.config.model, TransformerConfig), "the other kind has a language"
        return LanguageModel(self.config.model, self.task.vocab_size)

    @functools.cached_property
    def _policies(self) -> dict[LanguageModel, Policy]:
        return {}

    def _policy_of(self, model: LanguageModel) -> Policy:
        if model not in self._policies:
            self._policies[model] = Policy(model, self.format, self.task.answers)
        return self._policies[model]

    def model(self, name: str) -> Model:
        """The network that a stage trains."""
        stage = self.stage(name)
        if stage.ends_with == "player":
            return stage.network
        return stage.shape(self) if isinstance(stage, OwnShape) else self.policy(name).model

    def checkpoint(self, ref: str) -> CheckpointRef | None:
        """The parameters that a stage ended with; None for an empty reference.

        Raises:
            FileNotFoundError: if there is no such run.
            ValueError: if that run has no such stage, or is of another task.
        """
        if not ref:
            return None
        if ref == PRETRAINED and self._language is not None:
            return CheckpointRef(self._network, ref, 0, folder=self._language.folder)
        run, stage, lineage = self._resolved(ref)
        if stage.ends_with == "rows":
            raise ValueError(f"stage is {shortened(ref)}: it ends with rows, not with parameters")
        shared = run and stage.ends_with == "policy"  # of the same shape, the same value
        model = self.policy(ref).model if shared else lineage.model(stage.name)
        return CheckpointRef(model, stage.name, lineage.num_steps(stage.name), run)

    def is_policy(self, ref: str) -> bool:
        """Tells whether a reference is to a policy. Raises: see `checkpoint`."""
        own = ref == PRETRAINED and self._language is not None
        return own or self.settings(ref).ends_with == "policy"

    def settings(self, ref: str) -> Any:
        """The settings of the stage of a reference. Raises: see `checkpoint`."""
        return self._resolved(ref)[1]

    def end(self, ref: str) -> int:
        """The number of steps of its run that are done when the stage of a reference is over; 0 for
        an open model as it came."""
        if ref == PRETRAINED and self._language is not None:
            return 0
        _, stage, lineage = self._resolved(ref)
        return lineage.ends()[stage.name]

    def home(self, ref: str, of: str = "") -> tuple[str, str]:
        """The folder of the run of a reference, and its stage: what tells it from all others.

        Args:
            of: the stage that says it, where that is one of another run.
        """
        run, slash, name = ref.rpartition("/")
        elsewhere = of.rpartition("/")[0]
        folder = run if slash else elsewhere or self.directory
        return str(absolute(folder or ".")), name

    def rows(self, ref: str) -> epath.Path:
        """The folder of rows of a reference: RUN/rows/STAGE of a stage that ends with rows, in this
        run or another, else the folder `ref` itself, which another command has filled.

        Raises:
            ValueError: if the stage ends with something else.
        """
        folder = epath.Path(ref)
        run, slash, name = ref.rpartition("/")
        if slash:
            filled = exists(folder / "labels.json")
            of_a_stage = not filled and exists(epath.Path(run) / "config.json")
        else:
            of_a_stage = name in [stage.name for stage in self.config.stages]
        if not of_a_stage:
            return folder
        found = self.settings(ref)
        if found.ends_with != "rows":
            raise ValueError(f"rows are {shortened(ref)}: that stage writes none")
        return epath.Path(run if slash else self.directory) / "rows" / name

    def _resolved(self, ref: str) -> tuple[str, Any, "Lineage"]:
        """The run of a reference (empty for this one), its stage, and that run's lineage."""
        run, slash, name = ref.rpartition("/")
        if not slash:
            return "", self.stage(name), self
        other = self.other(run)
        try:
            return run, other.stage(name), other
        except ValueError as error:
            raise ValueError(f"{shortened(ref)}: {error}") from error

    @functools.cached_property
    def _others(self) -> dict[str, "Lineage"]:
        return {}

    def other(self, run: str) -> "Lineage":
        """The lineage of another run of the same task."""
        if run not in self._others:
            config = read_config(run, self.modules)
            if not same_task(config, self.config):
                raise ValueError(
                    f"run is {shortened(run)}: it must be a run of the same task, "
                    f"{self.config.task}"
                )
            self._others[run] = Lineage(config, self.modules, run)
        return self._others[run]

    def before(self, name: str) -> Iterator[StageConfig]:
        """The stages in front of one."""
        yield from self.config.stages[: self._index(name)]


def same_task(one: Experiment, other: Experiment) -> bool:
    """Tells whether two runs are of one task: only where its files lie may differ."""
    tasks = []
    for config in (one, other):
        task = config.task
        if dataclasses.is_dataclass(task) and hasattr(task, "data_dir"):
            task = dataclasses.replace(task, data_dir="")  # pyright: ignore
        tasks.append((task, config.prompting))
    return tasks[0] == tasks[1]

"""A language run, opened for reading: its task, its policies with their weights, its verifiers.

Which stages a run has, what they are called and where they ended is known here and nowhere else in
measuring, studies and pages.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import Experiment, ParallelConfig
from rlsearch.config_file import nearest
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.judges import check_judges, check_same_language, with_aggregation
from rlsearch.measuring.total_compute import training_flops
from rlsearch.networks.head import Head
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.opening import read_run
from rlsearch.runs.parameters import load_params, warn
from rlsearch.runs.stage import Stage
from rlsearch.strategies.base import Strategy, load_strategy
from rlsearch.strategies.revisions import Revisions
from rlsearch.tasks.base import Task
from rlsearch.training.loop import ends
from rlsearch.training.setup import (
    Setup,
    judged_policy,
    make_setup,
    policy_stages,
    same_task,
    trained_verifiers,
)
from rlsearch.training.verifiers import verifier_model
from rlsearch.verifiers.aggregate import AGGREGATIONS
from rlsearch.verifiers.base import NAMES, Judge, load_verifier
from rlsearch.verifiers.head import HeadVerifier
from rlsearch.verifiers.label_files import describe_task, read_about
from rlsearch.verifiers.network import NetworkVerifier


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What is measured of a run when nothing else is asked for."""

    budgets: tuple[int, ...]  # in mean sampled solutions
    seeds: tuple[int, ...]
    sequential: int  # attempts of a chain


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedRun:
    """A language run; see `open_run`."""

    directory: RunDirectory
    config: Experiment
    setup: Setup
    code: str  # the user's file whose classes the run and its verifiers may name; empty: none
    data_dir: str = ""  # folder with the task's files, in place of the config's

    @property
    def path(self) -> str:
        """The run's folder."""
        return str(self.directory.path)

    @property
    def title(self) -> str:
        """The name that stands over pictures."""
        return self.config.name

    @property
    def task(self) -> Task:
        """The task of all policies."""
        return self.setup.task

    @property
    def task_split(self) -> str:
        """The way problems were held out."""
        return self.config.task.split

    @property
    def defaults(self) -> Defaults:
        """What the config says of evaluation."""
        asked = self.config.evaluation
        return Defaults(tuple(asked.budgets), tuple(asked.seeds), asked.sequential)

    def default_strategies(self) -> tuple[Strategy, ...]:
        """The strategies of the config.

        Raises:
            ValueError: if one is not the package's: to read a run is not to run its code.
        """
        names = self.config.evaluation.strategies
        foreign = [name for name in names if ":" in name]
        if foreign:
            raise ValueError(
                f"evaluation.strategies has {foreign[0]!r}: name it with --strategies to run its "
                "code"
            )
        return self.named_strategies(names)

    def named_strategies(self, names: Iterable[str]) -> tuple[Strategy, ...]:
        """The strategies of these names, each once, with this run's length of chains.

        Raises:
            ValueError: if there is none of a name.
        """
        loaded = [load_strategy(name) for name in dict.fromkeys(names)]
        sequential = self.defaults.sequential
        return tuple(
            dataclasses.replace(x, sequential=sequential) if isinstance(x, Revisions) else x
            for x in loaded
        )

    # Policies.

    @functools.cached_property
    def policy(self) -> Policy:
        """The network and the language of all policies of the run: one object, so that programs
        compile once."""
        return Policy(self.setup.model, self.setup.form, self.setup.task.answers)

    @functools.cached_property
    def _policy_stages(self) -> tuple[Stage, ...]:
        return policy_stages(self.config, self.setup)

    def _present(self, stages: tuple[Stage, ...]) -> dict[str, int]:
        """Which of a run's first stages have a last checkpoint, and its step."""
        with CheckpointStore(
            self.directory.checkpoints, self.config.log.keep_checkpoints, warn
        ) as store:
            present = set(store.steps())
        steps = {stage.name: end for stage, end in zip(stages, ends(stages), strict=True)}
        return {name: step for name, step in steps.items() if step in present}

    def policies(self) -> dict[str, int]:
        """The policies whose training is complete, and the steps of their checkpoints."""
        return self._present(self._policy_stages)

    def complete_policies(self, names: Iterable[str] = ()) -> dict[str, int]:
        """As `policies`: of those in `names`, in the order of `names`, or of all.

        Raises:
            ValueError: if there is none, or none of a name.
        """
        found = self.policies()
        if not found:
            raise ValueError(f"run is {self.path!r}: no stage of it is complete yet")
        names = tuple(names)
        unknown = sorted(set(names) - set(found))
        if unknown:
            raise ValueError(f"policy is {unknown[0]!r}: this run has {', '.join(found)}")
        return {name: found[name] for name in names or found}

    def default_policy(self) -> str:
        """The distilled one, else the last that is complete.

        Raises:
            ValueError: if there is none.
        """
        found = self.complete_policies()
        return "distilled" if "distilled" in found else list(found)[-1]

    def pretrained_policy(self) -> str:
        """The policy that pre-training ends with."""
        return "base"

    def revising_policies(self) -> tuple[str, ...]:
        """The policies, trained or not, that have learnt to revise."""
        return ("revision",) if self.config.revision.enabled else ()

    def writer(self, name: str | None = None) -> tuple[Writer, str]:
        """The policy `name` with its weights, and its name; None for the default one.

        Raises:
            ValueError: if the run has no such policy.
        """
        name = name or self.default_policy()
        step = self.complete_policies((name,))[name]
        with CheckpointStore(
            self.directory.checkpoints, self.config.log.keep_checkpoints, warn
        ) as store:
            mesh = make_mesh(self.config.parallel)
            return Writer(self.policy, load_params(store, step, self.setup.model, mesh)), name

    # Verifiers.

    def verifiers(self) -> tuple[str, ...]:
        """The verifiers that the run trains, whether or not that is over."""
        return self.config.verifier.train

    def complete_verifiers(self) -> tuple[str, ...]:
        """The verifiers whose training is over, and whose policy is there."""
        if not self.verifiers():
            return ()
        stages = (*self._policy_stages, *trained_verifiers(self.config, self.setup))
        present = self._present(stages)
        here = self.judged_policy() in present
        return tuple(name for name in self.verifiers() if here and name in present)

    def judged_policy(self) -> str:
        """The policy whose solutions the run's verifiers learn to judge."""
        return self.config.verifier.policy

    def policies_run(self) -> str:
        """The run that has that policy, where this one has verifiers alone; empty elsewhere."""
        return self.config.verifier.policy_run

    def judge(self, name: str, aggregation: str = "", policies: Iterable[str] = ()) -> Judge:
        """The verifier `name`, for what the policies of this run write.

        Args:
            name: of `rlsearch.verifiers` (`value_head`), of a verifier that the run has trained
                (`prm`), of one that another run has (`runs/other/prm`), or `module:Class`.
            aggregation: instead of the verifier's own way to make one score of those of the steps.
            policies: those that it has to judge.

        Raises:
            ValueError: if there is none, or it cannot judge what they write.
        """
        if aggregation and aggregation not in AGGREGATIONS:
            valid = ", ".join(AGGREGATIONS)
            raise ValueError(f"aggregation is {aggregation!r}: it must be {valid}")
        other = self._other_run(name)
        if other is not None:
            judge = other[0]._verifier_for(self, other[1], name)
        elif name in self.verifiers():
            judge = self._trained(name, name)
        elif name in NAMES or ":" in name:
            judge = load_verifier(name, self.task)
        else:
            known = [*NAMES, *self.verifiers()]
            close = nearest(name, known)
            hint = f"; the nearest is {close}" if close else ""
            raise ValueError(
                f"verifier is {name!r}: it must be {', '.join(known)}, RUN/NAME of another run's, "
                f"or module:Class{hint}"
            )
        judge = with_aggregation(judge, aggregation) if aggregation else judge
        check_judges(judge, policies)
        return judge

    def training_of(self, verifier: str) -> dict[str, Any]:
        """What a trained verifier has learnt from, and what that took; nothing of any other.

        `generations` are the solutions and completions that a policy wrote for its labels; None
        where their folder is no longer there.
        """
        run, name = self._other_run(verifier) or (self, verifier)
        if name not in run.verifiers():
            return {}
        settings, of_outcomes = run.config.verifier, name == "orm"
        exact = settings.labels == "exact"
        made: dict[str, Any] = {"kind": "outcomes" if of_outcomes else "exact"}
        made["spent"] = settings.num_steps * settings.num_solutions
        if not of_outcomes and not exact:
            made = read_about(settings.labels) or {}
        return {
            "labels": made.get("kind", settings.labels),
            "generations": made.get("spent"),
            "network": settings.network,
        }

    def _other_run(self, verifier: str) -> "tuple[OpenedRun, str] | None":
        """The run that `RUN/NAME` is of and the rest of the name; None for a name without a run."""
        run_dir, slash, name = verifier.rpartition("/")
        if not slash or ":" in verifier:
            return None
        directory, config = read_run(run_dir, self.code)
        if not isinstance(config, Experiment):
            raise ValueError(
                f"verifier is {verifier!r}: that run is one of {config.kind}, not of language"
            )
        return OpenedRun(directory, config, make_setup(config), self.code), name

    def _verifier_for(self, user: "OpenedRun", name: str, label: str) -> Judge:
        """The verifier `name` of this run, for the policies of the run `user`."""
        if name not in self.verifiers():
            has = ", ".join(self.verifiers()) or "none"
            raise ValueError(f"verifier is {label!r}: that run has trained {has}")
        its, ours = self.config.task.cls, user.config.task.cls
        if its != ours:
            raise ValueError(f"verifier is {label!r}: it judges {its}, and this run is of {ours}")
        check_same_language(label, self.task, user.task)
        if self.config.verifier.network == "head":
            home = self.policies_run() or self.path
            if RunDirectory(home, create=False).path.resolve() != user.directory.path.resolve():
                raise ValueError(
                    f"verifier is {label!r}: it is a head on the trunk of a policy of {home!r}, "
                    "and makes no sense on another"
                )
        return self._trained(name, label)

    def _trained(self, name: str, label: str) -> Judge:
        """A verifier that this run has trained.

        Raises:
            ValueError: if its training is not over.
        """
        settings = self.config.verifier
        before = sum(stage.num_steps for stage in self._policy_stages)
        step = before + settings.num_steps * (settings.train.index(name) + 1)
        own = settings.network == "own"
        policy = self.setup.model if own else judged_policy(self.config, self.setup).model
        model = verifier_model(settings, policy)
        with CheckpointStore(
            self.directory.checkpoints, self.config.log.keep_checkpoints, warn
        ) as store:
            if step not in store.steps():
                raise ValueError(
                    f"verifier is {label!r}: its training is not over in {self.path!r}"
                )
            params = load_params(store, step, model, make_mesh(ParallelConfig(data=1)))
        aggregation = "last" if name == "orm" else settings.aggregation
        if isinstance(model, Head):
            return HeadVerifier(params, model, label, settings.policy, aggregation)
        return NetworkVerifier(params, model, label, aggregation)  # pyright: ignore

    # What training took.

    def training_flops(self) -> dict[str, float]:
        """What the parameters of each policy have cost, by its name."""
        return training_flops(self._policy_stages)

    def verifier_training_flops(self, label: str) -> float:
        """What training the verifier `label` has cost; 0 where this run has not trained it."""
        stages = trained_verifiers(self.config, self.setup)
        each = {stage.name: stage.num_steps * stage.flops_per_step.total for stage in stages}
        return each.get(label, 0.0)

    def pretraining_tokens(self) -> int:
        """D_pre, padding included, as it is learnt from."""
        task, settings = self.task, self.config.pretrain
        row = task.prompt_length + task.num_steps * task.max_step_length
        return settings.num_steps * settings.batch_size * row

    def check_same_pretraining(self, small: "OpenedRun") -> None:
        """Raises ValueError where this run and `small` have not learnt from the same data."""
        said = f"against is {self.path!r}"
        if not same_task(small.config.task, self.config.task):
            raise ValueError(f"{said}: it must be a run of the same task, {small.config.task}")
        for field in ("num_steps", "batch_size", "contrast"):
            ours, theirs = (getattr(run.config.pretrain, field) for run in (small, self))
            if ours != theirs:
                raise ValueError(
                    f"{said}: its pretrain.{field} is {theirs} and that of the small model {ours}: "
                    "they must have learnt from the same data"
                )

    def describe_task(self) -> dict[str, Any]:
        """What labels of this run must have in common with those who learn from them."""
        return describe_task(self.config.task, self.task)

    @property
    def task_name(self) -> str:
        """The task's `module:Class`."""
        return self.config.task.cls


def open_run(run_dir: str, data_dir: str = "", code: str = "") -> OpenedRun:
    """Opens a run of a language task; see `read_run`.

    Args:
        data_dir: a folder with the task's files, in place of the config's.

    Raises:
        FileNotFoundError: if there is no run in the folder.
        ValueError: if it is damaged, or a run of another kind.
    """
    directory, config = read_run(run_dir, code)
    if not isinstance(config, Experiment):
        raise ValueError(f"run is {run_dir!r}: it is a run of {config.kind}, not of language")
    if data_dir:
        config = dataclasses.replace(
            config, task=dataclasses.replace(config.task, data_dir=data_dir)
        )
    return OpenedRun(directory, config, make_setup(config), code, data_dir)

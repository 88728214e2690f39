"""A language run, opened for reading: its task, its policies with their weights, its verifiers.

The stages of a run, their names and where they ended are known here, by its lineage, and nowhere
else in measuring, studies and pages.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax

from rlsearch.classes import class_name, nearest
from rlsearch.config import Experiment, ParallelConfig, Pretrained
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.costs import answer_flops
from rlsearch.measuring.judges import check_judges, check_same_language, with_aggregation
from rlsearch.parallel.mesh import make_mesh, replicated
from rlsearch.pretrained.weights import read_params
from rlsearch.runs.checkpoints import complete_stages, stage_checkpoints
from rlsearch.runs.directory import RunDirectory
from rlsearch.runs.lineage import PRETRAINED, Lineage, same_task
from rlsearch.runs.opening import read_run, with_data_dir
from rlsearch.runs.parameters import load_params, warn
from rlsearch.stages.traces import Traces, row_length
from rlsearch.stages.verifier import LabelsFrom, Outcomes, Verifier
from rlsearch.strategies.base import Strategy, load_strategy
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.revisions import Revisions
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.tasks.base import Task
from rlsearch.text import shortened
from rlsearch.verifiers.aggregate import AGGREGATIONS
from rlsearch.verifiers.base import NAMES, Judge, load_verifier
from rlsearch.verifiers.label_files import describe_task, read_about


@dataclasses.dataclass(frozen=True)
class Defaults:
    """The measurements of a run when nothing else is asked for."""

    budgets: tuple[int, ...] = (1, 4, 16, 64)  # in mean sampled solutions
    seeds: tuple[int, ...] = (0, 1, 2)
    sequential: int = 4  # attempts of a chain
    policy_weight: float | None = None  # of the choice among solutions; None: each strategy's own


@dataclasses.dataclass(frozen=True, eq=False)
class OpenedRun:
    """A language run; see `open_run`."""

    directory: RunDirectory
    lineage: Lineage
    code: str  # the user's file whose classes the run and its verifiers may name; empty: none
    data_dir: str = ""  # folder with the task's files, in place of the config's

    @property
    def config(self) -> Experiment:
        """The run's config."""
        return self.lineage.config

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
        return self.lineage.task

    @property
    def task_split(self) -> str:
        """The way problems were held out."""
        return getattr(self.config.task, "split", "random")

    @property
    def defaults(self) -> Defaults:
        """The budgets, seeds and chains of the first study of the config that says any."""
        own = Defaults()
        asked = self.config.evaluation[0] if self.config.evaluation else None
        sequential = getattr(asked, "sequential", 0)
        return Defaults(
            getattr(asked, "budgets", ()) or own.budgets,
            getattr(asked, "seeds", ()) or own.seeds,
            sequential if isinstance(sequential, int) and sequential else own.sequential,
            getattr(asked, "policy_weight", None),
        )

    def default_strategies(self) -> tuple[Strategy, ...]:
        """The strategies of the first study of the config that has any, or the usual three."""
        for study in self.config.evaluation:
            if found := getattr(study, "strategies", ()):
                return found
        return Greedy(), BestOfN(), TreeSearch()

    def named_strategies(self, names: Iterable[str]) -> tuple[Strategy, ...]:
        """The strategies of these names, each once, as the config has them.

        Raises:
            ValueError: if there is none of a name.
        """
        own = {type(strategy): strategy for strategy in self.default_strategies()}
        loaded = [load_strategy(name) for name in dict.fromkeys(names)]
        loaded = [own.get(type(strategy), strategy) for strategy in loaded]
        sequential = self.defaults.sequential
        return tuple(
            dataclasses.replace(x, sequential=sequential) if isinstance(x, Revisions) else x
            for x in loaded
        )

    # Policies.

    def policies(self) -> dict[str, int]:
        """The policies whose training is complete, and the steps of their checkpoints; an open
        model as it came is the first."""
        present, ends = complete_stages(self.directory, self.lineage), self.lineage.ends()
        names = self.lineage.of_kind("policy")
        as_it_came = {PRETRAINED: 0} if isinstance(self.config.model, Pretrained) else {}
        return as_it_came | {name: ends[name] for name in names if name in present}

    def complete_policies(self, names: Iterable[str] = ()) -> dict[str, int]:
        """Does what `policies` does: of those in `names`, in the order of `names`, or of all.

        Raises:
            ValueError: if there is none, or none of a name.
        """
        found = self.policies()
        if not found:
            raise ValueError(f"run is {self.path!r}: no stage of it is complete yet")
        names = tuple(names)
        unknown = sorted(set(names) - set(found))
        if unknown:
            close = nearest(unknown[0], found)
            hint = f"; the nearest is {close}" if close else ""
            raise ValueError(
                f"policy is {shortened(unknown[0])}: this run has {', '.join(found)}{hint}"
            )
        return {name: found[name] for name in names or found}

    def default_policy(self) -> str:
        """The policy that is taken where none is named; see `Lineage.default_policy`.

        Raises:
            ValueError: if none is complete.
        """
        return self.lineage.default_policy(self.complete_policies())

    def pretrained_policy(self) -> str:
        """The first policy of the run: what comes after it is post-training."""
        names = self.lineage.of_kind("policy")
        if not names:
            raise ValueError(f"run is {self.path!r}: it trains no policy")
        return names[0]

    def revising_policies(self) -> tuple[str, ...]:
        """The policies, trained or not, that have learnt to revise."""
        stages = self.config.stages
        return tuple(stage.name for stage in stages if getattr(stage, "revises", False))

    @property
    def policy(self) -> Policy:
        """The network and the language of the run's first policy: one object for all of its shape,
        so that programs compile once."""
        return self.lineage.policy(self.config.stages[0].name)

    def writer(self, name: str | None = None) -> tuple[Writer, str]:
        """The policy `name` with its weights, as they are computed with, and its name; None for the
        default one.

        Raises:
            ValueError: if the run has no such policy.
        """
        name = name or self.default_policy()
        self.complete_policies((name,))
        policy, mesh = self.lineage.policy(name), make_mesh(self.config.parallel)
        ref = self.lineage.checkpoint(name)
        if ref is not None and ref.folder:
            shapes = jax.eval_shape(ref.model.init, jax.random.key(0))
            whole = jax.tree.map(lambda _: replicated(mesh), shapes)
            params = read_params(ref.folder, ref.model, whole, ref.model.config.dtype)
            return Writer(policy, ref.model.computed(params)), name
        with stage_checkpoints(self.directory, self.lineage, name) as checkpoints:
            step = self.lineage.num_steps(name)
            params = load_params(checkpoints, step, policy.model, mesh)
            return Writer(policy, policy.model.computed(params)), name

    # Verifiers.

    def verifiers(self) -> tuple[str, ...]:
        """The verifiers that the run trains, whether or not that is over."""
        return self.lineage.of_kind("judge")

    def complete_verifiers(self) -> tuple[str, ...]:
        """The verifiers whose training is over, and whose policy is there."""
        present = complete_stages(self.directory, self.lineage)
        return tuple(
            name
            for name in self.verifiers()
            if name in present and self.lineage.stage(name).policy in present
        )

    def judged_policy(self) -> str:
        """The policy whose solutions the run's verifiers learn to judge, or the first of all."""
        for name in self.verifiers():
            return self.lineage.stage(name).policy.rpartition("/")[2]
        return self.pretrained_policy()

    def policies_run(self) -> str:
        """The run that has that policy, where this one has verifiers alone; empty elsewhere."""
        if self.lineage.of_kind("policy"):
            return ""
        runs = (self.lineage.stage(name).policy.rpartition("/")[0] for name in self.verifiers())
        return next(runs, "")

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
            raise ValueError(f"aggregation is {shortened(aggregation)}: it must be {valid}")
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
                f"verifier is {shortened(name)}: it must be {', '.join(known)}, RUN/NAME of "
                f"another run's, or module:Class{hint}"
            )
        judge = with_aggregation(judge, aggregation) if aggregation else judge
        if judge.aggregation == "prod" and self.training_of(name).get("labels") == "soft":
            warn(
                f"verifier {shortened(name)} multiplies the scores of steps, and soft labels have "
                "taught it how likely each still comes out right: that punishes length; see "
                "--aggregation"
            )
        check_judges(judge, policies)
        return judge

    def training_of(self, verifier: str) -> dict[str, Any]:
        """The labels that a trained verifier has learnt from, and their cost; nothing of any other.

        `generations` are the solutions and completions that a policy wrote for its labels; None
        where their folder is no longer there.
        """
        run, name = self._other_run(verifier) or (self, verifier)
        if name not in run.verifiers():
            return {}
        settings: Verifier = run.lineage.stage(name)
        labels = settings.labels
        if isinstance(labels, LabelsFrom):
            made = read_about(run.lineage.rows(labels.folder)) or {}
            kind = made.get("kind", labels.folder)
        else:
            made = {"spent": settings.num_steps * settings.num_solutions}
            kind = "outcomes" if isinstance(labels, Outcomes) else "exact"
        return {"labels": kind, "generations": made.get("spent"), "network": settings.network}

    def _other_run(self, verifier: str) -> "tuple[OpenedRun, str] | None":
        """The run that `RUN/NAME` is of and the rest of the name; None for a name without a run."""
        run_dir, slash, name = verifier.rpartition("/")
        if not slash or ":" in verifier:
            return None
        try:
            return open_run(run_dir, code=self.code), name
        except WrongKindError as error:
            raise ValueError(
                f"verifier is {shortened(verifier)}: that run is one of self-play, not of language"
            ) from error

    def _verifier_for(self, user: "OpenedRun", name: str, label: str) -> Judge:
        """The verifier `name` of this run, for the policies of the run `user`."""
        if name not in self.verifiers():
            has = ", ".join(self.verifiers()) or "none"
            raise ValueError(f"verifier is {shortened(label)}: that run has trained {has}")
        its, ours = self.task_name, user.task_name
        if its != ours:
            raise ValueError(
                f"verifier is {shortened(label)}: it judges {its}, and this run is of {ours}"
            )
        check_same_language(label, self.task, user.task)
        if self.lineage.stage(name).network == "head":
            home = self.policies_run() or self.path
            if RunDirectory(home, create=False).path.resolve() != user.directory.path.resolve():
                raise ValueError(
                    f"verifier is {shortened(label)}: it is a head on the trunk of a policy of "
                    f"{home!r}, and makes no sense on another"
                )
        return self._trained(name, label)

    def _trained(self, name: str, label: str) -> Judge:
        """A verifier that this run has trained.

        Raises:
            ValueError: if its training is not over.
        """
        settings: Verifier = self.lineage.stage(name)
        model = self.lineage.model(name)
        with stage_checkpoints(self.directory, self.lineage, name) as checkpoints:
            if settings.num_steps not in checkpoints.steps():
                raise ValueError(
                    f"verifier is {shortened(label)}: its training is not over in {self.path!r}"
                )
            mesh = make_mesh(ParallelConfig(data=1))
            params = load_params(checkpoints, settings.num_steps, model, mesh)
        return settings.judge(model, params, label)

    # What training took.

    def training_flops(self) -> dict[str, float]:
        """The FLOPs that the parameters of each policy have cost, by its name, with those of the
        stage that it started from."""
        spent: dict[str, float] = {}
        for name in self.lineage.of_kind("policy"):
            spent[name] = self._own_flops(name) + spent.get(self.lineage.stage(name).start, 0.0)
        return spent

    def verifier_training_flops(self, label: str) -> float:
        """The FLOPs that the verifier `label` has cost, whichever run has trained it: its training,
        and the solutions and completions that were written for its labels, as far as their folder
        is still there, each taken as long as a solution may be. 0 for one that was not trained."""
        run, name = self._other_run(label) or (self, label)
        if name not in run.verifiers():
            return 0.0
        settings: Verifier = run.lineage.stage(name)
        spent = run._own_flops(name)
        if isinstance(settings.labels, LabelsFrom):
            made = self.training_of(label)["generations"] or 0
            policy = self.policy
            spent += made * answer_flops(policy, self.task, policy.format.max_length)
        return spent

    def _own_flops(self, name: str) -> float:
        each = self.lineage.stage(name).flops(self.lineage)
        return self.lineage.num_steps(name) * each.total

    def pretraining_tokens(self) -> int:
        """D_pre, padding included, as it is learnt from."""
        stage = self._pretraining()
        return stage.num_steps * stage.batch_size * row_length(self.lineage)

    def _pretraining(self) -> Traces:
        stage = self.lineage.stage(self.pretrained_policy())
        if not isinstance(stage, Traces):
            raise ValueError(f"run is {self.path!r}: its first policy has not learnt from traces")
        return stage

    def check_same_pretraining(self, small: "OpenedRun") -> None:
        """Raises ValueError where this run and `small` have not learnt from the same data."""
        said = f"against is {self.path!r}"
        if not same_task(small.config, self.config):
            raise ValueError(f"{said}: it must be a run of the same task, {small.config.task}")
        for field in ("num_steps", "batch_size", "contrast"):
            ours, theirs = (getattr(run._pretraining(), field) for run in (small, self))
            if ours != theirs:
                raise ValueError(
                    f"{said}: its {self.pretrained_policy()}.{field} is {theirs} and that of the "
                    f"small model {ours}: they must have learnt from the same data"
                )

    def describe_task(self) -> dict[str, Any]:
        """The task, as labels of this run have it in common with those who learn from them."""
        return describe_task(self.config.task, self.task)

    @property
    def task_name(self) -> str:
        """The task's `module:Class`."""
        return class_name(self.config.task)


class WrongKindError(ValueError):
    """A run is one of games."""


def open_run(run_dir: str, data_dir: str = "", code: str = "") -> OpenedRun:
    """Opens a run of a language task; see `read_run`.

    Args:
        data_dir: a folder with the task's files, in place of the config's.

    Raises:
        FileNotFoundError: if there is no run in the folder.
        ValueError: if it is damaged, or a run of another kind.
    """
    directory, config, modules = read_run(run_dir, code)
    if config.task is None:
        raise WrongKindError(
            f"run is {shortened(run_dir)}: it is a run of self-play, not of language"
        )
    lineage = Lineage(with_data_dir(config, data_dir), modules, str(directory.path))
    return OpenedRun(directory, lineage, code, data_dir)

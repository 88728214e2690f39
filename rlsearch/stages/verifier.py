"""Training verifiers: a policy that stays as it is writes, and they learn to judge it.

An outcome reward model learns whether a solution comes out right, which the checker says; a process
reward model learns of each step whether it is right, which labels say. Where the labels come from
is a value: `Outcomes` and `ExactSteps` are made of fresh solutions in every step, and those of
`LabelsFrom` have been written before. The network is one of its own, a copy of the policy that
learns on, or a head on the policy's trunk.
"""

import dataclasses
import functools
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rlsearch.config import Kind, OptimizerConfig, TransformerConfig, check
from rlsearch.decoding.policy import Policy, SolutionFormat
from rlsearch.decoding.writer import Writer
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.head import Head
from rlsearch.networks.language_model import LanguageModel
from rlsearch.objectives.verifier_targets import (
    VerifierTargets,
    outcome_targets,
    per_weight,
    process_targets,
    verifier_loss,
)
from rlsearch.parallel.sharding import filled
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Model, Params, Stage, StageFlops, Weights
from rlsearch.stages.costs import passes_of, writing_flops
from rlsearch.stages.replay import Replay, capacity_of, empty_replay
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.ring import Learning, Origin, Ring, lanes, ring_stage
from rlsearch.tasks.base import Task
from rlsearch.text import shortened
from rlsearch.verifiers.aggregate import AGGREGATIONS
from rlsearch.verifiers.base import Judge
from rlsearch.verifiers.exact import check_exact, exact_labels
from rlsearch.verifiers.head import HeadVerifier
from rlsearch.verifiers.label_files import LabelFolder, abstract_labels
from rlsearch.verifiers.labels import StepLabels
from rlsearch.verifiers.network import NetworkVerifier


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Labels for an outcome reward model: behind every token, whether the solution is right."""

    fresh: ClassVar[bool] = True

    def rows(self, task: Task, writer: Writer, keys: jax.Array) -> tuple[VerifierTargets, Metrics]:
        """Writes one solution a key, and labels it."""
        prompts, solutions, right = write_solutions(task, writer, keys)
        return outcome_targets(prompts, solutions, right, writer.format), {"sample_accuracy": right}


@dataclasses.dataclass(frozen=True)
class ExactSteps:
    """Labels for a process reward model: of each step, whether all is right up to it."""

    fresh: ClassVar[bool] = True

    def rows(self, task: Task, writer: Writer, keys: jax.Array) -> tuple[VerifierTargets, Metrics]:
        """Writes one solution a key, and labels its steps."""
        prompts, solutions, right = write_solutions(task, writer, keys)
        labels = exact_labels(task, prompts, solutions, writer.format)
        return process_targets(labels, writer.format), {"sample_accuracy": right}


@dataclasses.dataclass(frozen=True)
class LabelsFrom:
    """Labels for a process reward model that a stage, or `rlsearch data label`, has written."""

    folder: str = ""  # a stage before, RUN/STAGE, or a folder such as runs/arithmetic/labels/soft

    fresh: ClassVar[bool] = False

    def __post_init__(self):
        check(bool(self.folder), self, "folder", "a stage that labels, or the folder of labels")

    def opened(self, lineage: Lineage, reader: str) -> "LabelFolder | PromisedLabels":
        """The labels, which a stage of the same run may have still to make.

        Args:
            reader: the stage that learns from them.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if they are not all made yet, or of another task, or of no stage before.
        """
        folder, task = lineage.rows(self.folder), lineage.task
        names = [stage.name for stage in lineage.config.stages]
        if self.folder not in names:
            return LabelFolder(folder, lineage.config.task, task)
        if names.index(self.folder) >= names.index(reader):
            raise ValueError(
                f"{reader}.labels.folder is {shortened(self.folder)}: it must be a stage before it"
            )
        # In front of a run there is a bound alone: a plan needs no more.
        bound = lineage.settings(self.folder).most_rows(lineage)
        most = None if lineage.directory else bound
        return PromisedLabels(folder, lineage.config.task, task, most)


@dataclasses.dataclass(frozen=True, eq=False)
class PromisedLabels:
    """Labels that are there when they are first asked for, and not before."""

    folder: epath.Path
    config: Any  # the task, as the config has it
    task: Task
    most: int | None  # solutions that there may be; None: they are there when it is asked for

    @functools.cached_property
    def _kept(self) -> LabelFolder:
        return LabelFolder(self.folder, self.config, self.task)

    @property
    def solutions(self) -> int:
        """The number of solutions, or the most that there may be. Raises: see `LabelFolder`."""
        return self._kept.solutions if self.most is None else self.most

    def take(self, rows: np.ndarray) -> StepLabels:
        """The labels of the solutions `rows [N]`. Raises: see `LabelFolder.take`."""
        return self._kept.take(rows)


LABELS = Annotated[Any, Kind("a source of labels", "rlsearch.stages", ("fresh",))]


@dataclasses.dataclass(frozen=True)
class Verifier:
    """Learns to judge what a policy writes."""

    name: str = "orm"  # of the verifier that it ends with
    policy: str = "base"  # the stage that ended with the policy, or RUN/STAGE of another run
    labels: LABELS = Outcomes()  # what it learns
    network: str = "own"  # "own" (fresh), "copy" (of the policy) or "head" (on its trunk)
    model: TransformerConfig = TransformerConfig()  # shape of a network of its own
    aggregation: str = "last"  # one score of those of the steps: "last", "min", "prod", "mean"
    num_steps: int = 400  # training steps
    num_solutions: int = 128  # written a training step
    replay_size: int = 12800  # solutions kept, the newest
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 256  # solutions of a minibatch
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3)

    ends_with: ClassVar[str] = "judge"

    def __post_init__(self):
        check(bool(self.policy), self, "policy", "the stage that ended with the policy")
        kinds = ("own", "copy", "head")
        check(self.network in kinds, self, "network", "'own', 'copy' or 'head'")
        ways = ", ".join(map(repr, AGGREGATIONS))
        check(self.aggregation in AGGREGATIONS, self, "aggregation", f"one of {ways}")
        for field in ("num_steps", "num_solutions", "updates_per_step", "batch_size"):
            check(getattr(self, field) >= 1, self, field, "at least 1")
        multiple = self.replay_size >= 1 and self.replay_size % self.num_solutions == 0
        valid = f"a multiple of num_solutions, {self.num_solutions}"
        check(multiple, self, "replay_size", valid)

    @property
    def start(self) -> str:
        """The stage that it is a copy of; empty where its network is its own."""
        return self.policy if self.network == "copy" else ""

    def shape(self, lineage: Lineage) -> Model:
        """The network that is trained."""
        policy = lineage.policy(self.policy).model
        if self.network == "head":
            return Head(policy.config)
        own = LanguageModel(self.model, policy.vocab_size)
        return policy if self.network == "copy" else own

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        task, policy, model = lineage.task, lineage.policy(self.policy), self.shape(lineage)
        judged = lineage.checkpoint(self.policy)
        assert judged is not None, "a policy is named"
        if isinstance(self.labels, ExactSteps):
            check_exact(task)

        def produce(weights: Weights, keys: jax.Array) -> tuple[VerifierTargets, Metrics]:
            return self.labels.rows(task, Writer(policy, weights.read["policy"]), keys)

        def loss(weights: Weights, rows: VerifierTargets, keys: jax.Array):
            del keys
            return verifier_loss(token_logits(model, policy, weights, rows), rows)

        stage = ring_stage(
            Origin(self.name, self.num_steps, lineage.checkpoint(self.start), {"policy": judged}),
            model,
            Ring(
                self.num_solutions,
                self.replay_size,
                self.batch_size,
                self.updates_per_step,
                self.optimizer,
            ),
            produce,
            Learning(per_weight, loss),
            self.flops(lineage),
        )
        if self.labels.fresh:
            return stage
        assert isinstance(self.labels, LabelsFrom)
        labels = self.labels.opened(lineage, self.name)
        return dataclasses.replace(
            stage,
            memory=functools.partial(full_memory, labels, policy.format),
            produce=lambda weights, memory, keys, fed: None,
            remember=lambda memory, produced, judged: (memory, {}),
            fill=functools.partial(read_memory, labels, policy.format),
        )

    def judge(self, model: Model, params: Params, label: str) -> Judge:
        """The verifier that the stage ends with.

        Args:
            model: its network; see `shape`.
            label: the name that stands beside a result.
        """
        if isinstance(model, Head):
            policy = self.policy.rpartition("/")[2]
            return HeadVerifier(params, model, label, policy, self.aggregation)
        assert isinstance(model, LanguageModel)
        return NetworkVerifier(params, model, label, self.aggregation)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "", Size("num_solutions", "replay_size", 1)

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step: padding is paid for too."""
        task, policy, model = lineage.task, lineage.policy(self.policy), self.shape(lineage)
        format, length = policy.format, task.prompt_length + policy.format.max_length
        tokens = format.num_steps * format.max_step_length
        written = self.num_solutions * writing_flops(policy, task, tokens, per_turn=0)
        read = flops_per_token(
            policy.model, length, policy=False
        )  # a head's own are in it, or near
        if isinstance(model, LanguageModel):
            passes = passes_of(model, self.optimizer.learnt)
            read = passes * flops_per_token(model, length, policy=False)
        update = self.updates_per_step * self.batch_size * length * read
        return StageFlops(written if self.labels.fresh else 0.0, update)


def write_solutions(
    task: Task, writer: Writer, keys: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Writes one solution a key: problems `[B, P]`, solutions `[B, T]`, and which are right, `[B]`
    float32."""
    problem_keys, sample_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    prompts = jax.vmap(task.draw_task_problem)(problem_keys)
    solutions = writer.sample(prompts, sample_keys)[0].line.tokens
    return prompts, solutions, task.check_tokens(prompts, solutions).astype(jnp.float32)


def full_memory(
    labels: LabelFolder | PromisedLabels, format: SolutionFormat, weights: Weights, keys: jax.Array
) -> Replay:
    """A full ring with room for all `labels`, which `read_memory` puts there.

    They are part of the state, so that a run that is resumed learns from the same ones.
    """
    del weights
    each = -(-labels.solutions // len(keys))
    abstract = abstract_labels(len(keys), labels.task)
    rows = jax.eval_shape(lambda x: lanes(process_targets(x, format)), abstract)
    return empty_replay(rows, each)._replace(added=jnp.full(keys.shape, each, jnp.int32))


def read_memory(
    labels: LabelFolder | PromisedLabels, format: SolutionFormat, replay: Replay
) -> Replay:
    """Reads lane after lane of `labels`; a few of them come twice, so that all lanes are full.

    Raises:
        FileNotFoundError, ValueError: see `LabelFolder.take`.
    """
    each = capacity_of(replay)

    def read(asked: range) -> VerifierTargets:
        place = np.arange(asked.start * each, asked.stop * each) % labels.solutions
        rows = process_targets(labels.take(place), format)
        return jax.tree.map(lambda x: x.reshape(len(asked), each, *x.shape[1:]), rows)

    return replay._replace(rows=filled(replay.rows, read))


def token_logits(
    model: Model, policy: Policy, weights: Weights, rows: VerifierTargets
) -> jax.Array:
    """The logits `[B, T]` float32 of a verifier behind each token of solutions."""
    tokens = jnp.concatenate([rows.prompts, rows.solutions], axis=1)
    start, real = rows.prompts.shape[1], policy.format.real(tokens)
    if isinstance(model, Head):
        hidden, _ = policy.model.read(weights.read["policy"], tokens, real)
        return model.logit(weights.own, hidden[:, start:])
    assert isinstance(model, LanguageModel)
    hidden, _ = model.read(weights.own, tokens, real)
    return model.value_logit(weights.own, hidden[:, start:])

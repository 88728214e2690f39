"""Labelling: a policy writes solutions, and their steps are labelled for verifiers to learn from.

The rows that the stage ends with are a folder of labels, RUN/rows/STAGE. `rlsearch data label`
makes such a folder behind a run that is over, RUN/labels/NAME, from keys of its own.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rlsearch.config import check
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.split import step_ends
from rlsearch.decoding.writer import Writer
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import CheckpointRef, Params, Writing
from rlsearch.stages.costs import writing_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.verifier import Verifier
from rlsearch.strategies.candidates import Candidates, sample
from rlsearch.tasks.base import Task
from rlsearch.text import shortened
from rlsearch.verifiers.base import NAMES, Judge, load_verifier
from rlsearch.verifiers.bisection import bisection_labels
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.label_files import describe_task
from rlsearch.verifiers.label_making import LabelMaking, Limits
from rlsearch.verifiers.labels import StepLabels
from rlsearch.verifiers.monte_carlo import hard_labels, soft_labels

KINDS = ("exact", "hard", "soft", "bisection")


@dataclasses.dataclass(frozen=True)
class Labelling:
    """Labels the steps of what a policy writes."""

    name: str = "labels"  # of the rows that it ends with
    policy: str = "base"  # the stage that ended with the policy, or RUN/STAGE of another run
    kind: str = "soft"  # "exact", "hard", "soft" or "bisection"
    generations: int = 10_000  # most solutions and completions, together; 0: no limit but num_steps
    num_steps: int = 0  # most parts; 0: as many as `generations` pay for
    num_problems: int = 32  # of a part
    num_rollouts: int = 8  # completions of a draft: all but exact
    num_searches: int = 8  # for a first error, a problem: bisection
    drawn: int = 1  # solutions drawn for each that is labelled: see `convincing`
    active_fraction: float = 0.8  # of the labelled ones that are the most convincing wrong ones
    verifier: str = ""  # that says which convince: a stage before, RUN/STAGE, or `value_head`

    ends_with: ClassVar[str] = "rows"
    start: ClassVar[str] = ""

    def __post_init__(self):
        kinds = ", ".join(map(repr, KINDS))
        check(self.kind in KINDS, self, "kind", f"one of {kinds}")
        check(bool(self.policy), self, "policy", "the stage that ended with the policy")
        for field in ("num_problems", "num_rollouts", "num_searches", "drawn"):
            check(getattr(self, field) >= 1, self, field, "at least 1")
        for field in ("generations", "num_steps"):
            check(getattr(self, field) >= 0, self, field, "at least 0")
        limited = self.generations + self.num_steps > 0
        check(limited, self, "generations", "at least 1 where num_steps is 0")
        check(0 <= self.active_fraction <= 1, self, "active_fraction", "from 0 to 1")
        convinced = self.drawn == 1 or bool(self.verifier)
        check(convinced, self, "drawn", "1 where no verifier says which solutions convince")
        own = self.drawn == 1 or self.kind != "bisection"
        check(own, self, "drawn", "1 for bisection, which draws its own solutions")

    def length(self, lineage: Lineage) -> int:
        """The most parts: each problem of one takes a generation or more."""
        del lineage
        paid = -(-self.generations // self.num_problems)
        return min(self.num_steps or paid, paid or self.num_steps)

    @property
    def rows_of_a_part(self) -> int:
        """Solutions of a part that nothing has cut short."""
        each = self.num_rollouts + self.num_searches if self.kind == "bisection" else 1
        return self.num_problems * each

    def most_rows(self, lineage: Lineage) -> int:
        """An upper bound of the solutions that are labelled, before they are."""
        return self.length(lineage) * self.rows_of_a_part

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "", Size("num_problems", "num_problems", 0)

    def build(self, lineage: Lineage) -> Writing:
        """Builds the stage; see `StageConfig`."""
        task, policy = lineage.task, lineage.policy(self.policy)
        if self.kind == "exact" and not hasattr(task, "step_labels"):
            raise ValueError(f"labels are 'exact': {type(task).__name__} cannot label steps")
        writes = lineage.checkpoint(self.policy)
        assert writes is not None, "a policy is named"
        if not lineage.is_policy(self.policy):
            raise ValueError(
                f"{self.name}.policy is {shortened(self.policy)}: that stage trains no policy"
            )
        judges, judge = None, Constant()
        if self.verifier and _is_class(self.verifier):
            judge = load_verifier(self.verifier, task)
        elif self.verifier:
            judges = self._judging(lineage)
        reads = {"policy": writes} | ({"verifier": judges} if judges else {})

        def produce(read: Mapping[str, Params], keys: jax.Array) -> StepLabels:
            asked = judge
            if judges is not None:
                settings: Verifier = lineage.settings(self.verifier)
                asked = settings.judge(judges.model, read["verifier"], self.verifier)
            return self.draw(task, Writer(policy, read["policy"]), asked, keys)

        longest = writing_flops(policy, task, policy.format.max_length, per_turn=0)
        length = self.length(lineage)
        limits = Limits(self.generations, length, self.rows_of_a_part, longest)

        def opened(folder: epath.Path) -> LabelMaking:
            about = self.describe(lineage)
            return LabelMaking(folder, about, task, limits, self._completed(task))

        return Writing(self.name, length, self.num_problems, reads, produce, opened)

    def describe(self, lineage: Lineage) -> dict[str, Any]:
        """All that decides which labels are made, for labels.json."""
        settings = dataclasses.asdict(self)
        del settings["name"]
        if self.generations:
            del settings["num_steps"]
        return {
            **settings,
            "seed": lineage.config.seed,
            "checkpoint_step": lineage.end(self.policy),
            **describe_task(lineage.config.task, lineage.task),
        }

    def _judging(self, lineage: Lineage) -> CheckpointRef:
        """The parameters of the verifier.

        Raises:
            ValueError: if the stage is of none, or its network cannot read what the policy writes.
        """
        settings, said = lineage.settings(self.verifier), f"{self.name}.verifier is"
        if settings.ends_with != "judge":
            raise ValueError(f"{said} {shortened(self.verifier)}: that stage trains no verifier")
        reads = lineage.home(settings.policy, of=self.verifier)
        if settings.network == "head" and reads != lineage.home(self.policy):
            raise ValueError(
                f"{said} {shortened(self.verifier)}: it is a head on the trunk of policy "
                f"{shortened(settings.policy)}, not of {shortened(self.policy)}"
            )
        found = lineage.checkpoint(self.verifier)
        assert found is not None, "a verifier is named"
        return found

    def _completed(self, task: Any) -> Callable[[StepLabels], StepLabels]:
        """What is left for the host to do to a part: exact labels are the task's own."""
        if self.kind != "exact":
            return lambda labels: labels

        def exact(labels: StepLabels) -> StepLabels:
            values = task.step_labels(labels.prompts, labels.solutions)
            return labels._replace(values=values.astype(np.float32) * labels.weights)

        return exact

    def draw(self, task: Task, writer: Writer, judge: Judge, keys: jax.Array) -> StepLabels:
        """Draws one problem for each of `keys [B]`, which are consumed, and labels solutions of it.

        Exact labels are left at 1: they are made on the host.
        """
        split = jax.vmap(lambda key: tuple(jax.random.split(key, 4)))
        problem_keys, draw_keys, label_keys, choice_keys = split(keys)
        prompts = jax.vmap(task.draw_task_problem)(problem_keys)
        rollouts = self.num_rollouts
        if self.kind == "bisection":
            return bisection_labels(task, writer, prompts, label_keys, rollouts, self.num_searches)
        drawn = sample(writer, judge, prompts, draw_keys, self.drawn, Sampling())
        chosen = convincing(drawn, task, prompts, choice_keys, self.active_fraction)
        solutions = drawn.tokens[jnp.arange(len(prompts)), chosen]
        if self.kind == "exact":
            _, present = step_ends(solutions, writer.format)
            ones = jnp.ones(prompts.shape[:1], jnp.int32)
            weights = present.astype(jnp.float32)
            labels = StepLabels(prompts, solutions, weights, weights, ones)
        else:
            labels = soft_labels(task, writer, prompts, solutions, label_keys, rollouts)
            labels = hard_labels(labels) if self.kind == "hard" else labels
        return labels._replace(generations=labels.generations + self.drawn - 1)


def _is_class(verifier: str) -> bool:
    """Tells whether a verifier is a class, and none that a stage has trained."""
    return verifier in NAMES or ":" in verifier


def convincing(
    drawn: Candidates, task: Any, prompts: jax.Array, keys: jax.Array, fraction: float
) -> jax.Array:
    """`[B]` int32, which of the solutions drawn for a problem is labelled.

    With probability `fraction` the wrong one that the verifier scores highest, or where none is
    wrong the one that it scores highest; else the first (Lightman et al. 2023, section 2.4, which
    takes for the rest the most convincing of all).

    Args:
        drawn: n solutions of each of `prompts [B, P]`.
        keys: `[B]` typed keys, consumed.
    """
    each = jnp.swapaxes(drawn.tokens, 0, 1)
    right = jax.lax.map(lambda tokens: task.check_tokens(prompts, tokens), each).T
    rank = drawn.scores + 2.0 * ~right
    active = jax.vmap(lambda key: jax.random.bernoulli(key, fraction))(keys)
    return jnp.where(active, jnp.argmax(rank, axis=1), 0)

"""The settings that a teacher and its control have in common: they differ in the teacher alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from rlsearch.config import OptimizerConfig, check
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.companions import Companions
from rlsearch.objectives.problems import ProblemMixture, draw_problems
from rlsearch.objectives.step_targets import step_learning
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, Weights
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.ring import Learning, Origin, Ring, ring_stage
from rlsearch.tasks.base import Task, check_traced


@dataclasses.dataclass(frozen=True)
class Teaching:
    """Problems a step, the rows beside those of the teacher, and the updates on them."""

    num_problems: int = 128  # B, problems a step
    task_fraction: float = 0.5  # share of the task's own problems; the rest have hindsight goals
    other_goal_fraction: float = 0.0  # share of random numbers with a goal reached from others
    critic_samples: int = 1  # solutions sampled per problem and step, for the value alone
    traces: int = 1  # random traces per problem and step, as in pre-training
    contrast: float = 0.4  # share of those traces shown with another goal
    trace_choices: float = 1.0  # share of the other traces whose choices the policy learns; of the
    # rest it learns the consequences of choices, which are what keeps it honest
    likelihood: float = 0.0  # the power of its probability by which a right solution is drawn to be
    # learnt: with 0 each different one is as likely, with 1 they come as the policy writes them
    replay_size: int = 3840  # rows kept
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 256  # rows of a minibatch
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, warmup_steps=20)

    def __post_init__(self):
        check(self.num_problems >= 1, self, "num_problems", "at least 1")
        check(0 <= self.task_fraction <= 1, self, "task_fraction", "in [0, 1]")
        rest = 1 - self.task_fraction
        valid = f"in [0, {rest:g}], what task_fraction leaves"
        check(0 <= self.other_goal_fraction <= rest, self, "other_goal_fraction", valid)
        check(self.critic_samples >= 0, self, "critic_samples", "at least 0")
        check(self.traces >= 0, self, "traces", "at least 0")
        check(0 < self.contrast < 1, self, "contrast", "in (0, 1)")
        check(0 <= self.trace_choices <= 1, self, "trace_choices", "in [0, 1]")
        check(0 <= self.likelihood <= 1, self, "likelihood", "in [0, 1]")
        rows = self.num_problems * self.companions.rows
        multiple = self.replay_size >= 1 and self.replay_size % rows == 0
        check(multiple, self, "replay_size", f"a multiple of the rows of a step, {rows}")
        check(self.updates_per_step >= 1, self, "updates_per_step", "at least 1")
        check(self.batch_size >= 1, self, "batch_size", "at least 1")

    @property
    def mixture(self) -> ProblemMixture:
        """The kinds of problems."""
        return ProblemMixture(self.task_fraction, self.other_goal_fraction)

    @property
    def companions(self) -> Companions:
        """The rows beside each of the teacher's."""
        return Companions(self.critic_samples, self.traces, self.contrast, self.trace_choices)

    @property
    def ring(self) -> Ring:
        """The rows kept, and the updates."""
        return Ring(
            self.num_problems,
            self.replay_size,
            self.batch_size,
            self.updates_per_step,
            self.optimizer,
        )

    def sizes(self) -> Size:
        """See `sizes_of`."""
        return Size("num_problems", "replay_size", self.companions.rows)

    @property
    def rows_learnt(self) -> int:
        """Rows of all minibatches of a step."""
        return self.updates_per_step * self.batch_size

    def draw_problems(self, task: Task, keys: jax.Array) -> jax.Array:
        """Draws training problems `[B, P]`; the keys `[B]` are consumed."""
        return draw_problems(task, keys, self.mixture)


def taught_stage(
    config: Any,
    lineage: Lineage,
    targets: Callable[..., Any],
    learning: Callable[..., tuple[Callable, Callable]] = step_learning,
) -> Stage:
    """Builds the stage of a teacher and its pupil.

    Args:
        config: of the stage, with a `teaching`.
        targets: makes rows and metrics from the task, a writer with the pupil's
            weights, `[B]` keys and `config`.
        learning: of the model and the token of padding, the way to learn from those rows.
    """
    task, policy, teaching = lineage.task, lineage.policy(config.name), config.teaching
    if teaching.traces or teaching.task_fraction < 1:
        needed = ": teaching.traces must be 0 and teaching.task_fraction 1"
        check_traced(task, config.name, needed)

    def produce(weights: Weights, keys: jax.Array) -> tuple[Any, Metrics]:
        return targets(task, Writer(policy, weights.own), keys, config)

    length = lineage.num_steps(config.name)
    return ring_stage(
        Origin(config.name, length, lineage.checkpoint(config.start)),
        policy.model,
        teaching.ring,
        produce,
        Learning(*learning(policy.model, policy.format.pad)),
        config.flops(lineage),
    )

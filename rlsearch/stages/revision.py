"""A copy of a policy learns to answer better behind answers that went wrong.

Its data is written by that policy, which stays as it is (Snell et al. 2024: revisions that learn
from what they write themselves got worse). It begins as a copy, so that without attempts in its
context it is the policy that it came from.
"""

import dataclasses
from typing import ClassVar

import jax

from rlsearch.config import OptimizerConfig, check
from rlsearch.decoding.contexts import ATTEMPTS
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.revision_targets import revision_targets
from rlsearch.objectives.step_targets import StepTargets, step_learning
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, StageFlops, Weights
from rlsearch.stages.costs import row_flops, writing_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.ring import Learning, Origin, Ring, ring_stage


@dataclasses.dataclass(frozen=True)
class Revision:
    """Learns right answers behind wrong ones that the policy at its start wrote."""

    name: str = "revision"  # of the policy that it ends with
    start: str = "base"  # the stage that ended with the policy that is copied, and that writes
    num_steps: int = 200  # training steps
    num_problems: int = 16  # sampled from in a step
    num_samples: int = 16  # n, solutions of each problem, and rows made of them
    replay_size: int = 8192  # rows kept
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 64  # rows of a minibatch
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, warmup_steps=20)

    ends_with: ClassVar[str] = "policy"
    revises: ClassVar[bool] = True  # it reads earlier attempts

    def __post_init__(self):
        check(bool(self.start), self, "start", "the stage that ended with the policy")
        for field in ("num_steps", "num_problems", "updates_per_step", "batch_size"):
            check(getattr(self, field) >= 1, self, field, "at least 1")
        check(self.num_samples >= 4, self, "num_samples", "at least 4, as a context holds")
        rows = self.num_problems * self.num_samples
        multiple = self.replay_size >= 1 and self.replay_size % rows == 0
        check(multiple, self, "replay_size", f"a multiple of the rows of a step, {rows}")

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        task, policy = lineage.task, lineage.policy(self.name)
        copied = lineage.checkpoint(self.start)
        assert copied is not None, "a start is named"

        def produce(weights: Weights, keys: jax.Array) -> tuple[StepTargets, Metrics]:
            return revision_targets(
                task, Writer(policy, weights.read["policy"]), keys, self.num_samples
            )

        return ring_stage(
            Origin(self.name, self.num_steps, copied, {"policy": copied}),
            policy.model,
            Ring(
                self.num_problems,
                self.replay_size,
                self.batch_size,
                self.updates_per_step,
                self.optimizer,
            ),
            produce,
            Learning(*step_learning(policy.model, policy.format.pad)),
            self.flops(lineage),
        )

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "", Size("num_problems", "replay_size", self.num_samples)

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step: padding is paid for too."""
        task, policy = lineage.task, lineage.policy(self.name)
        format, prompt = policy.format, task.prompt_length
        tokens = self.num_samples * format.num_steps * format.max_step_length
        written = writing_flops(policy, task, tokens, format.max_step_length)
        length = prompt + ATTEMPTS * format.max_length + format.num_steps * format.max_step_length
        rows = self.updates_per_step * self.batch_size
        return StageFlops(
            self.num_problems * written, rows * row_flops(policy, length, self.optimizer)
        )

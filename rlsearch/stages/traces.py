"""Pre-training: next-token prediction on random valid traces; the goal is where each ended."""

import dataclasses
from typing import ClassVar

from rlsearch.config import OptimizerConfig, check
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.step_targets import step_learning
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Stage, StageFlops
from rlsearch.stages.costs import row_flops
from rlsearch.stages.ring import Learning, Origin, Ring, ring_stage
from rlsearch.tasks.base import check_traced


@dataclasses.dataclass(frozen=True)
class Traces:
    """Learns a task's language, its arithmetic and, in hindsight, what leads to which goal.

    See `rlsearch.objectives.hindsight`.
    """

    name: str = "base"  # of the policy that it ends with
    start: str = ""  # the stage whose parameters it starts from; empty: fresh ones
    num_steps: int = 500  # training steps
    batch_size: int = 256  # traces a step
    contrast: float = 0.4  # share of traces shown with another goal
    optimizer: OptimizerConfig = OptimizerConfig()

    ends_with: ClassVar[str] = "policy"

    def __post_init__(self):
        check(self.num_steps >= 1, self, "num_steps", "at least 1")
        check(self.batch_size >= 4, self, "batch_size", "at least 4")
        check(0 < self.contrast < 1, self, "contrast", "in (0, 1)")

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        task, policy = lineage.task, lineage.policy(self.name)
        check_traced(task, self.name, "")
        return ring_stage(
            Origin(self.name, self.num_steps, lineage.checkpoint(self.start)),
            policy.model,
            Ring(self.batch_size, self.batch_size, self.batch_size, 1, self.optimizer),
            lambda weights, keys: (hindsight_targets(task, keys, self.contrast), {}),
            Learning(*step_learning(policy.model, policy.format.pad)),
            self.flops(lineage),
        )

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step."""
        policy = lineage.policy(self.name)
        return StageFlops(
            0.0, self.batch_size * row_flops(policy, row_length(lineage), self.optimizer)
        )


def row_length(lineage: Lineage) -> int:
    """Tokens of one trace with its prompt, padding included."""
    format = lineage.format
    return lineage.task.prompt_length + format.num_steps * format.max_step_length

"""Supervised fine-tuning: worked solutions, word for word, in epochs.

The loss is on solutions alone; prompts are read. The solutions are those of the task's training
problems. The host feeds them in an order of its own for each epoch, so that all are learnt equally
often, and a run that is resumed goes on where it was.

Letters: N worked solutions, B of a step, P tokens of a prompt, S steps, L tokens of a step.
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import OptimizerConfig, check
from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.split import count_steps, split_steps
from rlsearch.objectives.step_targets import StepTargets, step_learning, written
from rlsearch.pretrained.worded import Worked
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.parameters import warn
from rlsearch.runs.stage import Stage, StageFlops
from rlsearch.stages.costs import row_flops
from rlsearch.stages.traces import row_length

LONGER = "they are longer than model.max_tokens and model.lines allow"


@dataclasses.dataclass(frozen=True)
class Supervised:
    """Learns the worked solutions of a task in words."""

    name: str = "supervised"  # of the policy that it ends with
    start: str = "pretrained"  # the stage whose parameters it starts from
    num_steps: int = 0  # training steps; 0: as many as make `num_epochs`
    num_epochs: int = 2  # times that each solution is learnt, where num_steps is 0
    batch_size: int = 32  # solutions a step
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-5, weight_decay=0.0)

    ends_with: ClassVar[str] = "policy"

    def __post_init__(self):
        check(self.num_steps >= 0, self, "num_steps", "at least 0")
        check(self.num_epochs >= 1, self, "num_epochs", "at least 1")
        check(self.batch_size >= 1, self, "batch_size", "at least 1")

    def length(self, lineage: Lineage) -> int:
        """Counts its training steps."""
        if self.num_steps:
            return self.num_steps
        worked, _ = worked_solutions(lineage, self.name)
        return math.ceil(self.num_epochs * len(worked.prompts) / self.batch_size)

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        policy, (worked, left_out) = lineage.policy(self.name), worked_solutions(lineage, self.name)
        weigh, loss = step_learning(policy.model, policy.format.pad)
        if left_out:
            warn(f"stage {self.name!r} leaves out {left_out} worked solutions: {LONGER}")

        def feed(step: int) -> Worked:
            rows = rows_of_step(step, self.batch_size, len(worked.prompts), lineage.config.seed)
            return Worked(worked.prompts[rows], worked.solutions[rows])

        def memory(weights: Any, keys: jax.Array) -> StepTargets:
            del weights
            rows = Worked(*(jnp.zeros((len(keys), x.shape[1]), jnp.int32) for x in worked))
            return targets_of(rows, policy.format)

        return Stage(
            name=self.name,
            model=policy.model,
            start=lineage.checkpoint(self.start),
            num_steps=self.length(lineage),
            num_keys=self.batch_size,
            memory=memory,
            produce=lambda weights, memory, keys, fed: targets_of(fed, policy.format),
            remember=lambda memory, produced, judged: (produced, {}),
            batch=lambda memory, key, update: weigh(memory),
            loss=loss,
            batch_size=self.batch_size,
            updates_per_step=1,
            optimizer=self.optimizer,
            flops_per_step=self.flops(lineage),
            feed=feed,
        )

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step."""
        policy = lineage.policy(self.name)
        return StageFlops(
            0.0, self.batch_size * row_flops(policy, row_length(lineage), self.optimizer)
        )


def worked_solutions(lineage: Lineage, stage: str) -> tuple[Worked, int]:
    """The task's worked solutions that fit into what the policy may write, and how many do not.

    Raises:
        ValueError: the task has none, or none fits.
    """
    worked = getattr(lineage.task, "worked", None)
    if worked is None:
        raise ValueError(
            f"stage {stage!r} learns worked solutions: the task must be one in words that has some"
        )
    format = lineage.format
    steps = np.asarray(count_steps(jnp.asarray(worked.solutions), format))
    ended = np.asarray(format.is_whole(jnp.asarray(worked.solutions)))
    fits = ended & (steps <= format.num_steps)
    if not fits.any():
        raise ValueError(f"stage {stage!r} learns worked solutions, and has none: {LONGER}")
    return Worked(worked.prompts[fits], worked.solutions[fits]), int((~fits).sum())


def rows_of_step(step: int, size: int, number: int, seed: int) -> np.ndarray:
    """`[size]` int, the places in step `step` of rows that are all taken in every epoch, in an
    order of its own."""
    places = np.arange(step * size, (step + 1) * size)
    epochs = {int(epoch) for epoch in places // number}
    order = {epoch: np.random.default_rng((seed, epoch)).permutation(number) for epoch in epochs}
    return np.array([order[int(place // number)][place % number] for place in places])


def targets_of(worked: Worked, format: SolutionFormat) -> StepTargets:
    """Rows with M = 1 of worked solutions. The value learns nothing: all of them are right."""
    steps = split_steps(worked.solutions, format)[:, :, None]
    present = written(steps, format.pad)
    nothing = jnp.zeros(len(steps))
    return StepTargets(
        prompts=worked.prompts,
        steps=steps,
        weights=present,
        values=jnp.zeros_like(present),
        value_weights=jnp.zeros_like(present),
        prompt_values=nothing,
        prompt_value_weights=nothing,
    )

"""A stage of one's own: imitates the right ones of its samples, which the host judges as text.

Problems come from the host, a pure function of the step; a judge in plain Python reads what was
written. Nothing in the package knows of it.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import OptimizerConfig
from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.step_targets import StepTargets, step_learning, written
from rlsearch.runs.stage import HostJudge, StageFlops
from rlsearch.stages.ring import Learning, OnHost, Origin, Ring, ring_stage


@dataclasses.dataclass(frozen=True)
class Imitation:
    name: str = "imitation"
    start: str = "base"
    num_steps: int = 3
    num_problems: int = 8
    judge_seconds: float = 10.0
    ends_with: ClassVar[str] = "policy"

    def build(self, lineage):
        task, policy = lineage.task, lineage.policy(self.name)
        read, draw = task.tokenizer.decode, jax.vmap(task.draw_task_problem)

        def feed(step):
            return np.asarray(draw(jax.random.split(jax.random.key(step), self.num_problems)))

        def produce(weights, keys, prompts):
            return prompts, Writer(policy, weights.own).sample(prompts, keys)[0].line.tokens

        def judge(row):
            return np.float32(self.grade(*(read(tokens.tolist()) for tokens in row)))

        def rows(produced, right):
            prompts, tokens = produced
            steps = split_steps(tokens, policy.format)[:, :, None]
            there, none = written(steps, policy.format.pad), jnp.zeros_like(right)
            weights = right[:, None, None] * there
            targets = StepTargets(prompts, steps, weights, weights, there, right, none)
            return targets, {"solved": right}

        ring = Ring(self.num_problems, self.num_problems * 2, 8, 1, OptimizerConfig(warmup_steps=1))
        host = OnHost(HostJudge(judge, np.float32(0.0), self.judge_seconds), rows, feed)
        learning = Learning(*step_learning(policy.model, policy.format.pad))
        origin = Origin(self.name, self.num_steps, lineage.checkpoint(self.start))
        return ring_stage(origin, policy.model, ring, produce, learning, StageFlops(0.0, 0.0), host)

    def grade(self, problem: str, solution: str) -> float:
        """The share of a solution's lines that are short: something to learn in a few steps."""
        return sum(len(line) < 14 for line in solution.splitlines()) / 3

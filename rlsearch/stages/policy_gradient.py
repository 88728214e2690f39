"""Policy gradient over groups of samples: what is better than its group is made likelier.

The advantage of a sample is its outcome less the mean of its group, over their standard deviation
in GRPO (Shao et al. 2024, section 4.1), as it is in Dr. GRPO (Liu et al. 2025). As outcomes are 0
and 1, a group's gradient is a difference of two means, of right samples and of wrong ones, times a
weight that the share p of right ones decides. One of each stands for all: an unbiased estimate.

    sum_i A_i grad log pi(i) / n  =  c (mean over right ones - mean over wrong ones of grad log pi)

with c = sqrt(p (1 - p)), or p (1 - p) without the division. It learns beside the same samples for
its value and the same traces as the other teachers do, through the same loss.

Letters: B problems, n samples of each, S steps, T tokens of a solution.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp

from rlsearch.config import check
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.advantages import AdvantageRows, advantage_learning
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.groups import Group, sample_groups
from rlsearch.objectives.step_targets import StepTargets, read_rows, written
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, StageFlops
from rlsearch.stages.costs import passes_of, sampling_flops, steps_at_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.teaching import Teaching, taught_stage
from rlsearch.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class PolicyGradient:
    """Samples solutions of every problem; makes right ones likelier and wrong ones less likely."""

    name: str = "reinforced"  # of the policy that it ends with
    start: str = "base"  # the stage whose parameters it starts from
    num_steps: int = 80  # training steps; 0: as many as cost the FLOPs of the stage `flops_of`
    flops_of: str = ""  # the stage at whose FLOPs it is trained, where num_steps is 0
    num_samples: int = 24  # n, solutions sampled per problem and step
    min_p: float = 0.0  # tokens less likely than this times the likeliest are not drawn
    standardise: bool = True  # advantages are divided by the standard deviation of their group
    clip: float = 0.2  # a step's probability ratio moves the loss from 1 - clip to 1 + clip
    teaching: Teaching = Teaching()

    ends_with: ClassVar[str] = "policy"

    def __post_init__(self):
        valid = "at least 1, or 0 with flops_of" if not self.flops_of else "0 beside flops_of"
        check((self.num_steps >= 1) != bool(self.flops_of), self, "num_steps", valid)
        check(self.num_samples >= 2, self, "num_samples", "at least 2")
        check(0 <= self.min_p < 1, self, "min_p", "in [0, 1)")
        check(0 < self.clip < 1, self, "clip", "in (0, 1)")

    def length(self, lineage: Lineage) -> int:
        """Counts its training steps."""
        return steps_at_flops(self, lineage)

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        learning = functools.partial(advantage_learning, clip=self.clip)
        return taught_stage(self, lineage, policy_gradient_targets, learning)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        size = self.teaching.sizes()
        return "teaching", size._replace(rows_of_one=size.rows_of_one + 1)

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step."""
        found, teaching = sampling_flops(self, lineage), self.teaching
        # Two rows of each problem are read once more, without a backward pass.
        passes = passes_of(lineage.policy(self.name).model, teaching.optimizer.learnt)
        scored = teaching.num_problems * 2 * found.update / teaching.rows_learnt / passes
        return dataclasses.replace(found, produce=found.produce + scored)


def policy_gradient_targets(
    task: Task, writer: Writer, keys: jax.Array, config: PolicyGradient
) -> tuple[AdvantageRows, Metrics]:
    """Samples n solutions of one problem a key, and takes a right one and a wrong one of each.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.

    Returns:
        Rows with M = 1: for each problem a right sample and a wrong one, which weigh nothing where
        there is none, and behind them the rows of `with_companions`. The metrics are `Group`'s, and
        `no_spread` (all samples of a group came out alike, so that they teach nothing).
    """
    sampling = Sampling(min_p=config.min_p)
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 4)))
    problem_keys, sample_keys, trace_keys, choice_keys = split(keys)
    prompts = config.teaching.draw_problems(task, problem_keys)
    first = writer.start(prompts)
    group = sample_groups(task, writer, first, sample_keys, config.num_samples, sampling)
    share = group.right.astype(jnp.float32).mean(axis=1)
    size = share * (1 - share)
    size = jnp.sqrt(size) if config.standardise else size
    lots = jax.vmap(lambda key: jax.random.uniform(key, group.right.shape[1:]))(choice_keys)
    taught = [
        sample_rows(writer, prompts, group, jnp.where(of_kind, lots, -1.0), advantage)
        for of_kind, advantage in ((group.right, size), (~group.right, -size))
    ]
    keys_of_companions = sample_keys, trace_keys
    companions = config.teaching.companions
    rows = [each.rows for each in taught]
    learnt = AdvantageRows(
        with_companions(task, writer, first, rows, keys_of_companions, companions),
        beside_none([each.advantages for each in taught], companions.rows - 1),
        beside_none([each.writer_log_probs for each in taught], companions.rows - 1),
    )
    metrics = group.metrics(writer.format) | {"no_spread": (size == 0).astype(jnp.float32)}
    return jax.lax.stop_gradient(learnt), metrics


def sample_rows(
    writer: Writer, prompts: jax.Array, group: Group, lots: jax.Array, advantage: jax.Array
) -> AdvantageRows:
    """A row of one sample of each group: that with the highest of `lots [B, n]`, if one is not
    negative; else the row weighs nothing."""
    format, rows = writer.format, jnp.arange(prompts.shape[0])
    chosen, there = jnp.argmax(lots, axis=1), (lots >= 0).any(axis=1)
    steps = split_steps(group.tokens[rows, chosen], format)[:, :, None]
    present = written(steps, format.pad)
    right = group.right[rows, chosen].astype(jnp.float32)
    solved = group.right.any(axis=1).astype(jnp.float32)
    row = StepTargets(
        prompts=prompts,
        steps=steps,
        weights=jnp.zeros_like(present),
        values=right[:, None, None] * present,
        value_weights=present * there[:, None, None],
        prompt_values=solved,
        prompt_value_weights=there * jnp.where(solved > 0, right, 1.0),
        counted=jnp.ones(steps.shape, bool),
    )
    before, _, _ = read_rows(writer.policy.model, writer.params, row, format.pad)
    own = jnp.where(there, advantage, 0.0)[:, None, None] * present
    return AdvantageRows(row, own, before)


def beside_none(taught: list[jax.Array], others: int) -> jax.Array:
    """Puts zeros for `others` rows behind those of each problem, in the order of
    `with_companions`."""
    rows = [*taught, *(jnp.zeros_like(taught[0]) for _ in range(others))]
    return jnp.stack(rows, axis=1).reshape(-1, *taught[0].shape[1:])

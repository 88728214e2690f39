"""Plain expert iteration: sample whole solutions of a problem, imitate one that is right.

The control that search distillation has to beat at equal FLOPs. It sees the same problems, keeps
the same samples for its value and the same traces, and learns through the same loss; only its
teacher differs (rejection sampling, as in STaR and ReST-EM, without the restart from the base). Of
the different right samples one is drawn as a tree's right leaves are (`Teaching.likelihood`): each
as likely, or as often as it was written; where none is right, the value head learns the wrong one
that it believes most.

Letters: B problems, n samples of each, S steps, T tokens of a solution.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from rlsearch.config import check
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.groups import sample_groups
from rlsearch.objectives.path_targets import drawn_of
from rlsearch.objectives.step_targets import StepTargets, written
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, StageFlops
from rlsearch.stages.costs import sampling_flops, steps_at_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.teaching import Teaching, taught_stage
from rlsearch.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class ExpertIteration:
    """Samples solutions of every problem, and learns one of those that are right."""

    name: str = "control"  # of the policy that it ends with
    start: str = "base"  # the stage whose parameters it starts from
    num_steps: int = 0  # training steps; 0: as many as cost the FLOPs of the stage `flops_of`
    flops_of: str = ""  # the stage at whose FLOPs it is trained, where num_steps is 0
    flops_with_empty: bool = False  # counts what the other spends on empty places of its rows too
    num_samples: int = 24  # n, solutions sampled per problem and step, of which one is learnt
    min_p: float = 0.0  # tokens less likely than this times the likeliest are not drawn
    teaching: Teaching = Teaching()

    ends_with: ClassVar[str] = "policy"

    def __post_init__(self):
        valid = "at least 1, or 0 with flops_of" if not self.flops_of else "0 beside flops_of"
        check((self.num_steps >= 1) != bool(self.flops_of), self, "num_steps", valid)
        check(self.num_samples >= 1, self, "num_samples", "at least 1")
        check(0 <= self.min_p < 1, self, "min_p", "in [0, 1)")

    def length(self, lineage: Lineage) -> int:
        """Counts its training steps."""
        return steps_at_flops(self, lineage, self.flops_with_empty)

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        return taught_stage(self, lineage, expert_iteration_targets)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "teaching", self.teaching.sizes()

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step."""
        return sampling_flops(self, lineage)


def expert_iteration_targets(
    task: Task, writer: Writer, keys: jax.Array, config: ExpertIteration
) -> tuple[StepTargets, Metrics]:
    """Samples `num_samples` solutions of one problem a key, one after another.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.

    Returns:
        Rows with M = 1: for each problem one of its samples, with weight 0 for the policy where
        none was right, and behind it the rows of `with_companions`. The metrics are `Group`'s.
    """
    format, rows, sampling = writer.format, jnp.arange(keys.shape[0]), Sampling(min_p=config.min_p)
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 4)))
    problem_keys, sample_keys, trace_keys, choice_keys = split(keys)
    prompts = config.teaching.draw_problems(task, problem_keys)
    first = writer.start(prompts)
    group = sample_groups(task, writer, first, sample_keys, config.num_samples, sampling)
    right, different = group.right, group.different()
    drawn = drawn_of(different, config.teaching.likelihood * jnp.log(group.counts()), choice_keys)
    wrong = jnp.argmax(jnp.where(right, -1.0, group.believed), axis=1)
    kept = jnp.where(right.any(axis=1), drawn, wrong)
    solved = right.any(axis=1).astype(jnp.float32)
    steps = split_steps(group.tokens[rows, kept], format)[:, :, None]
    present = written(steps, format.pad)
    per_step = solved[:, None, None] * present
    targets = StepTargets(
        prompts=prompts,
        steps=steps,
        weights=per_step,
        values=per_step,
        value_weights=present,
        prompt_values=solved,
        prompt_value_weights=jnp.ones_like(solved),
        counted=jnp.ones((*per_step.shape, format.max_step_length), bool),
    )
    companions = config.teaching.companions
    learnt = with_companions(task, writer, first, [targets], (sample_keys, trace_keys), companions)
    return jax.lax.stop_gradient(learnt), group.metrics(writer.format)

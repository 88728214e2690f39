"""Tree distillation: a tree that draws from every problem, and what several of its leaves teach.

The teacher samples whole solutions without replacement, tilted by what the tree knows
(`rlsearch.search.draws`). The policy learns up to R different right solutions, the value head the
means of the leaves below each node, and of the wrong leaves those that it believed most
(`rlsearch.objectives.leaf_targets`).

Letters: B problems, R leaves of each.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig, check
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.leaf_targets import leaf_targets
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, StageFlops
from rlsearch.search.search import search
from rlsearch.stages.costs import row_flops, writing_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.teaching import Teaching, taught_stage
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker


@dataclasses.dataclass(frozen=True)
class TreeDistillation:
    """Searches from every problem, then learns the leaves of its trees."""

    name: str = "distilled"  # of the policy that it ends with
    start: str = "base"  # the stage whose parameters it starts from
    num_steps: int = 60  # training steps
    search: SearchConfig = SearchConfig(policy="draw", num_simulations=72, num_candidates=24)
    num_leaves: int = 4  # R, leaves of a tree that are learnt from
    teaching: Teaching = Teaching()

    ends_with: ClassVar[str] = "policy"
    is_default: ClassVar[bool] = True  # the policy that is taken where none is named

    def __post_init__(self):
        check(self.num_steps >= 1, self, "num_steps", "at least 1")
        check(self.search.policy == "draw", self, "search", "one whose policy is 'draw'")
        nodes = self.search.num_simulations
        check(1 <= self.num_leaves <= nodes, self, "num_leaves", f"from 1 to {nodes}")
        rows = self.teaching.num_problems * self._rows
        if self.teaching.replay_size % rows:
            raise ValueError(
                f"TreeDistillation.teaching.replay_size is {self.teaching.replay_size}: it must be "
                f"a multiple of the rows of a step, {rows}"
            )

    @property
    def _rows(self) -> int:
        """Rows of a problem."""
        return self.num_leaves - 1 + self.teaching.companions.rows

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        format, search = lineage.policy(self.name).format, self.search
        tokens = search.max_tokens or search.num_simulations * format.max_step_length
        if tokens < format.max_length or search.num_simulations < format.num_steps:
            raise ValueError(
                f"{self.name}.search is of {search.num_simulations} nodes and {tokens} tokens: it "
                f"must have room for a solution, {format.num_steps} and {format.max_length}"
            )
        return taught_stage(self, lineage, tree_targets)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "teaching", Size("num_problems", "replay_size", self._rows)

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step."""
        task, policy, teaching = lineage.task, lineage.policy(self.name), self.teaching
        format = policy.format
        tokens = self.search.num_simulations + teaching.critic_samples * format.num_steps
        written = writing_flops(
            policy, task, tokens * format.max_step_length, format.max_step_length
        )
        length = task.prompt_length + format.num_steps * format.max_step_length
        update = teaching.rows_learnt * row_flops(policy, length)
        return StageFlops(teaching.num_problems * written, update)


def tree_targets(
    task: Task, writer: Writer, keys: jax.Array, config: TreeDistillation
) -> tuple[StepTargets, Metrics]:
    """Searches from one problem a key and returns the rows to learn from.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.

    Returns:
        For each problem R rows and behind them those of `with_companions`, and metrics `[B]`:
        `solved` (a leaf is right), `right_solutions` (how many are) and `search_tokens`.
    """
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 3)))
    problem_keys, search_keys, trace_keys = split(keys)
    prompts = config.teaching.draw_problems(task, problem_keys)
    first, critic = writer.start(prompts), Checker(task.check_tokens)
    grown = search(writer, critic, first, Memory(), search_keys, config.search).grown
    rows, right = leaf_targets(writer, prompts, grown.tree, config.num_leaves)
    keys_of_companions = search_keys, trace_keys
    rows = with_companions(
        task, writer, first, rows, keys_of_companions, config.teaching.companions
    )
    metrics = {
        "solved": (right > 0).astype(jnp.float32),
        "right_solutions": right.astype(jnp.float32),
        "search_tokens": grown.tokens.astype(jnp.float32),
    }
    return jax.lax.stop_gradient(rows), metrics

"""Tree distillation: a tree of whole solutions from every problem, and what a path down it teaches.

The teacher draws whole solutions without replacement, tilted by what the tree knows, or searches by
any other rule over steps (`rlsearch.search.steps`). Of its tree the policy learns a path to a right
solution with the steps beside it, and the value head whether one was found below each of those
(`rlsearch.objectives.path_targets`).

Letters: B problems, M candidates of a step.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig, check
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.path_targets import path_targets
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, StageFlops
from rlsearch.search.search import search
from rlsearch.search.summary import first_finished
from rlsearch.stages.costs import row_flops, writing_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.teaching import Teaching, taught_stage
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker


@dataclasses.dataclass(frozen=True)
class TreeDistillation:
    """Searches from every problem, then learns a path down each of its trees."""

    name: str = "distilled"  # of the policy that it ends with
    start: str = "base"  # the stage whose parameters it starts from
    num_steps: int = 60  # training steps
    search: SearchConfig = SearchConfig(
        policy="draw", trust=0.0, num_simulations=72, num_candidates=24
    )
    num_targets: int = 4  # M, candidates of a step that are learnt from
    teaching: Teaching = Teaching()

    ends_with: ClassVar[str] = "policy"
    is_default: ClassVar[bool] = True  # the policy that is taken where none is named

    def __post_init__(self):
        check(self.num_steps >= 1, self, "num_steps", "at least 1")
        check(self.search.actions == "steps", self, "search", "one whose actions are 'steps'")
        most = self.search.num_candidates
        valid = f"from 1 to search.num_candidates, {most}"
        check(1 <= self.num_targets <= most, self, "num_targets", valid)

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        format, search = lineage.policy(self.name).format, self.search
        tokens = search.max_tokens or format.max_length
        if tokens < format.max_length or search.num_simulations < format.num_steps:
            raise ValueError(
                f"{self.name}.search is of {search.num_simulations} nodes and {tokens} tokens: it "
                f"must have room for a solution, {format.num_steps} and {format.max_length}"
            )
        return taught_stage(self, lineage, tree_targets)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "teaching", self.teaching.sizes()

    def searches(self, lineage: Lineage) -> int:
        """Counts the trees of a training step."""
        del lineage
        return self.teaching.num_problems

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step; a companion row leaves M - 1 candidates empty."""
        task, policy, teaching = lineage.task, lineage.policy(self.name), self.teaching
        format, longest = policy.format, policy.format.max_step_length
        tokens = self.search.num_simulations * longest
        tokens = min(tokens, self.search.max_tokens or tokens)
        tokens += teaching.critic_samples * format.num_steps * longest
        written = writing_flops(policy, task, tokens, longest)
        one = task.prompt_length + format.num_steps * longest
        whole = one + format.num_steps * (self.num_targets - 1) * longest
        learnt, short = (row_flops(policy, x, teaching.optimizer) for x in (whole, one))
        update = teaching.rows_learnt * learnt
        companions = teaching.rows_learnt * (1 - 1 / teaching.companions.rows)
        empty = companions * (learnt - short)
        return StageFlops(teaching.num_problems * written, update, empty)


def tree_targets(
    task: Task, writer: Writer, keys: jax.Array, config: TreeDistillation
) -> tuple[StepTargets, Metrics]:
    """Searches from one problem a key and returns the rows to learn from.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.

    Returns:
        For each problem a row and behind it those of `with_companions`, and metrics `[B]`:
        `solved` (a leaf is right), `right_solutions` (how many are), `search_tokens`, and `cut`
        (see `SolutionFormat.cut_share`).
    """
    split = jax.vmap(lambda key: tuple(jax.random.split(key, 4)))
    problem_keys, search_keys, trace_keys, leaf_keys = split(keys)
    prompts = config.teaching.draw_problems(task, problem_keys)
    first, critic = writer.start(prompts), Checker.of_whole(task, writer.format)
    grown = search(writer, critic, first, Memory(), search_keys, config.search).grown
    likelihood = config.teaching.likelihood
    row, right = path_targets(
        writer, prompts, grown.tree, leaf_keys, config.num_targets, likelihood
    )
    keys_of_companions = search_keys, trace_keys
    companions = config.teaching.companions
    rows = with_companions(task, writer, first, [row], keys_of_companions, companions)
    metrics = {
        "solved": (right > 0).astype(jnp.float32),
        "right_solutions": right.astype(jnp.float32),
        "search_tokens": grown.tokens.astype(jnp.float32),
        **writer.format.cut_share(
            grown.tree.embeddings.line.tokens, first_finished(grown.tree, writer.format)
        ),
    }
    return jax.lax.stop_gradient(rows), metrics

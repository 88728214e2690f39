"""Search distillation: search from every problem, then make the policy do what search found.

A tree search from all problems at once (AlphaZero; Silver et al. 2017). Its tree is followed for
`decisions_per_search` decisions, each with the targets that its own node gives; then the next
search begins where that led, until the solutions are finished and the checker has judged them.
Targets of a decision:

    policy   the improved policy pi' of the search, over the candidates that it drew; a candidate
             through which a right solution is known (in its tree, or because the solution that
             went on from it came out right) has value 1 in it
    value    whether this problem was solved from here on, by the outcome or in a later tree

A decision below which nothing was solved has only the critic's word; its policy target is weighed
by `unsolved_weight`.

Letters: B problems, S decisions, K candidates, M targets of a decision, L tokens of a step.
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig, check
from rlsearch.decoding.draft import Draft
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.objectives.companions import with_companions
from rlsearch.objectives.step_targets import StepTargets
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Metrics, Stage, StageFlops
from rlsearch.search.result import Grown
from rlsearch.search.search import decide, draw, num_decisions, search
from rlsearch.stages.costs import row_flops, writing_flops
from rlsearch.stages.replay_fields import Size
from rlsearch.stages.teaching import Teaching, taught_stage
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker

# A decision's other finished solutions teach the critic what a right one looks like; they are
# many and mostly wrong, so that each weighs less than the solution that was taken.
FINISHED_ALTERNATIVES_WEIGHT = 0.3


@dataclasses.dataclass(frozen=True)
class SearchDistillation:
    """Searches from every problem, then learns what the search found."""

    name: str = "distilled"  # of the policy that it ends with
    start: str = "base"  # the stage whose parameters it starts from
    num_steps: int = 60  # training steps
    search: SearchConfig = SearchConfig()
    num_targets: int = 4  # M, candidates of a decision that are learnt from
    decisions_per_search: int = 1  # made in one tree before the next is grown; divides all
    unsolved_weight: float = 0.0  # weight, against 1, of decisions below which nothing was solved
    teaching: Teaching = Teaching()

    ends_with: ClassVar[str] = "policy"
    is_default: ClassVar[bool] = True  # the policy that is taken where none is named

    def __post_init__(self):
        check(self.num_steps >= 1, self, "num_steps", "at least 1")
        check(self.num_targets >= 1, self, "num_targets", "at least 1")
        most = self.search.num_candidates
        valid = f"at most search.num_candidates, {most}"
        check(self.num_targets <= most, self, "num_targets", valid)
        check(self.decisions_per_search >= 1, self, "decisions_per_search", "at least 1")
        check(0 <= self.unsolved_weight <= 1, self, "unsolved_weight", "in [0, 1]")
        if self.search.actions == "moves":
            raise ValueError(
                "SearchDistillation.search.actions is 'moves': in language it must be 'steps', "
                "'top_tokens' or 'tokens'"
            )

    def build(self, lineage: Lineage) -> Stage:
        """Builds the stage; see `StageConfig`."""
        total = num_decisions(lineage.policy(self.name).format, self.search)
        if total % self.decisions_per_search:
            raise ValueError(
                f"{self.name}.decisions_per_search is {self.decisions_per_search}: it must be a "
                f"divisor of the decisions of a solution, {total}"
            )
        return taught_stage(self, lineage, search_targets)

    def sizes(self) -> tuple[str, Size]:
        """See `sizes_of`."""
        return "teaching", self.teaching.sizes()

    def searches(self, lineage: Lineage) -> int:
        """Counts the trees of a training step."""
        decisions = num_decisions(lineage.policy(self.name).format, self.search)
        return self.teaching.num_problems * (decisions // self.decisions_per_search)

    def flops(self, lineage: Lineage) -> StageFlops:
        """Counts the FLOPs of a training step; a companion row leaves M - 1 candidates empty."""
        task, policy, config = lineage.task, lineage.policy(self.name), self.search
        format, decisions = policy.format, num_decisions(policy.format, config)
        per_decision = format.max_step_length if decisions == format.num_steps else 1
        # The tree's end is written on by the policy alone.
        samples = self.teaching.critic_samples + 1
        tokens = samples * format.num_steps * format.max_step_length
        trees = decisions // self.decisions_per_search
        tokens += trees * per_decision * config.num_simulations
        written = writing_flops(policy, task, tokens, per_decision)
        one = task.prompt_length + decisions * per_decision
        whole = one + decisions * (self.num_targets - 1) * per_decision
        teaching = self.teaching
        learnt, short = (row_flops(policy, x, teaching.optimizer) for x in (whole, one))
        update = teaching.rows_learnt * learnt
        companions = teaching.rows_learnt * (1 - 1 / teaching.companions.rows)
        return StageFlops(teaching.num_problems * written, update, companions * (learnt - short))


class Keys(NamedTuple):
    """`[B]` typed keys, one of each a problem."""

    problem: jax.Array
    search: jax.Array
    trace: jax.Array


class Decided(NamedTuple):
    """The record of one decision, for each of B problems."""

    candidates: jax.Array  # [B, M, L] int32; 0 is the step that was taken
    weights: jax.Array  # [B, M] float32, their share of the improved policy
    solved: jax.Array  # [B, M] bool, a right solution was found below
    finished: jax.Array  # [B, M] bool, the candidate ends the solution
    open: jax.Array  # [B] bool, the solution was not finished before this decision
    any_solved: jax.Array  # [B] bool, below any of the K candidates
    log_boost: jax.Array  # [B] what value 1 would add to the log-weight of the step taken
    tokens: jax.Array  # [B] int32, tokens evaluated


def search_targets(
    task: Task, writer: Writer, keys: jax.Array, config: SearchDistillation
) -> tuple[StepTargets, Metrics]:
    """Plays one problem a key to its end and returns the rows to learn from.

    Args:
        keys: `[B]` typed keys, one a problem, consumed. A problem's targets depend on its own
            key alone.

    Returns:
        For each problem one row and behind it those of `with_companions`, and per-problem metrics
        `[B]`: `solved` (the solution taken is right) and `search_tokens`.
    """
    own = Keys(*jax.vmap(lambda key: tuple(jax.random.split(key, 3)))(keys))
    prompts = config.teaching.draw_problems(task, own.problem)
    first = writer.start(prompts)
    critic = Checker.of_whole(task, writer.format)

    def search_on(line: Any, number: jax.Array) -> tuple[Any, Decided]:
        """Grows one tree, and follows it for `decisions_per_search` decisions."""
        root, search_keys = first._replace(line=line), folded(own.search, number)
        grown = search(writer, critic, root, Memory(), search_keys, config.search).grown
        return follow(writer, root, grown, own.search, number, config)

    total = num_decisions(writer.format, config.search)
    searches = jnp.arange(total // config.decisions_per_search)
    line, decided = jax.lax.scan(search_on, first.line, searches)
    # [searches, decisions of each, B, ...] to [B, S, ...]
    decided = jax.tree.map(lambda x: x.reshape(total, *x.shape[2:]), decided)
    decided = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), decided)
    right = critic.check(prompts, line.tokens)
    targets = targets_of(prompts, decided, right, config.unsolved_weight)
    companions = config.teaching.companions
    rows = with_companions(task, writer, first, [targets], (own.search, own.trace), companions)
    metrics = {
        "solved": right.astype(jnp.float32),
        "search_tokens": decided.tokens.sum(axis=1).astype(jnp.float32),
    }
    return jax.lax.stop_gradient(rows), metrics


def follow(
    writer: Writer,
    root: Draft,
    grown: Grown,
    keys: jax.Array,
    number: jax.Array,
    config: SearchDistillation,
) -> tuple[Any, Decided]:
    """Follows the `number`-th tree of each of B problems down from its root.

    Where a tree ends, the policy goes on alone, and its step is candidate 0.

    Args:
        keys: `[B]` typed keys of the problems' searches.

    Returns:
        The lines `[B]` written so far, and the decisions `[decisions_per_search, B, ...]`.
    """
    format, total = writer.format, num_decisions(writer.format, config.search)

    def decide_once(carry: Any, step: jax.Array) -> tuple[Any, Decided]:
        line, node, inside = carry
        own_keys = jax.vmap(lambda key: jax.random.split(key, 2))(folded(keys, total + step))
        decision = decide(grown, node, own_keys[:, 0], format, config.search)
        found = decision.candidates
        inside &= found.usable.any(axis=1)
        draft = root._replace(line=line)
        drawn, tokens, length = draw(writer, draft, own_keys[:, 1], config.search)
        alone = jnp.zeros_like(decision.improved_policy).at[:, 0].set(1.0)
        policy = jnp.where(inside[:, None], decision.improved_policy, alone)
        action = jnp.where(inside, decision.action, 0)
        candidates = jnp.where(
            inside[:, None, None],
            found.tokens,
            jnp.full_like(found.tokens, format.pad).at[:, 0].set(tokens),
        )
        taken = jax.nn.one_hot(action, policy.shape[1])
        _, kept = jax.lax.top_k(policy + 2.0 * taken, config.num_targets)
        pick = functools.partial(jnp.take_along_axis, indices=kept, axis=1)
        known = inside[:, None] & decision.solved
        ends = jnp.where(inside[:, None], decision.finished, writer.finished(drawn)[:, None])
        newly_grown = step % config.decisions_per_search == 0
        boost = decision.value_scale * (1.0 - decision.action_value)
        decided = Decided(
            candidates=jnp.take_along_axis(candidates, kept[:, :, None], axis=1),
            weights=pick(policy),
            solved=pick(known),
            finished=pick(ends),
            open=~writer.finished(draft),
            any_solved=known.any(axis=1),
            log_boost=jnp.where(inside, boost, 0.0),
            tokens=jnp.where(newly_grown, grown.tokens, 0) + jnp.where(inside, 0, length),
        )
        after = jax.tree.map(functools.partial(_where, inside), decision.line, drawn.line)
        return (after, jnp.where(inside, decision.node, 0), inside), decided

    steps = number * config.decisions_per_search + jnp.arange(config.decisions_per_search)
    at_root = jnp.zeros(keys.shape, jnp.int32), jnp.ones(keys.shape, bool)
    (line, _, _), decided = jax.lax.scan(decide_once, (root.line, *at_root), steps)
    return line, decided


def _where(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """Chooses between two `[B, ...]` arrays by `condition [B]`."""
    return jnp.where(condition.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def targets_of(
    prompts: jax.Array, decided: Decided, right: jax.Array, unsolved_weight: float
) -> StepTargets:
    """Makes rows of decisions `[B, S, ...]` whose solutions came out `right [B]` or not."""
    # Backwards through the decisions: was the problem solved after this one?
    found_later = jnp.concatenate([decided.any_solved[:, 1:], right[:, None]], axis=1)
    solved_after = jax.lax.cummax(found_later.astype(jnp.int32), axis=1, reverse=True) > 0
    boost = jnp.where(solved_after, jnp.exp(decided.log_boost), 1.0)
    weights = decided.weights.at[:, :, 0].multiply(boost)
    weights /= jnp.maximum(weights.sum(axis=-1, keepdims=True), 1.0)
    known = decided.any_solved | solved_after
    weights *= jnp.where(known, 1.0, unsolved_weight)[:, :, None]

    taken = jnp.zeros_like(weights).at[:, :, 0].set(1.0)
    ended = (decided.finished & (decided.weights > 0)) * (1.0 - taken)
    values = jnp.where(taken > 0, solved_after[:, :, None], decided.solved)
    going_on = decided.open[:, :, None]
    return StepTargets(
        prompts=prompts,
        steps=decided.candidates,
        weights=weights * going_on,
        values=values.astype(jnp.float32),
        value_weights=going_on * (taken + FINISHED_ALTERNATIVES_WEIGHT * ended),
        prompt_values=known[:, 0].astype(jnp.float32),
        prompt_value_weights=jnp.ones(right.shape),
        counted=jnp.ones(decided.candidates.shape, bool),
    )

"""Solutions being written while a judge reads along: what all sampling strategies do.

Letters: R solutions in the making, S steps, T tokens of a solution.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.decoding.draft import Draft, Line, Prompt, Siblings, Step
from rlsearch.decoding.sampling import GREEDY, Sampling
from rlsearch.decoding.writer import Writer, step_keys
from rlsearch.verifiers.aggregate import aggregate
from rlsearch.verifiers.base import Memory


class Problems(NamedTuple):
    """Problems as a writer and a judge have read them: common to all solutions of a problem."""

    writer: Writer
    judge: Any  # a `Judge`
    prompt: Prompt  # [R, ...]
    shared: Any  # of the judge's memory, leaves [R, ...]

    def repeated(self, number: int) -> "Problems":
        """Every problem `number` times, side by side."""
        prompt, shared = jax.tree.map(
            lambda x: jnp.repeat(x, number, axis=0), (self.prompt, self.shared)
        )
        return self._replace(prompt=prompt, shared=shared)


class Judged(NamedTuple):
    """R half-written solutions, the judge's scores of their steps, and their cost so far."""

    line: Line
    memory: Any  # the judge's own, of the line
    scores: jax.Array  # [R, S] float32, the judge's of each step; 1 where there is none yet
    log_prob: jax.Array  # [R] float32, the policy's of all that is written, at temperature 1
    policy_tokens: jax.Array  # [R] int32
    verifier_tokens: jax.Array  # [R] int32
    bad_scores: jax.Array  # [R] int32, scores that were no numbers

    def costless(self) -> "Judged":
        """The same solutions before anything was spent."""
        zeros = jnp.zeros_like(self.policy_tokens)
        return self._replace(policy_tokens=zeros, verifier_tokens=zeros, bad_scores=zeros)

    def total(self, judge: Any) -> jax.Array:
        """`[...]` one score for each solution, finished or not, by the judge's aggregation."""
        return aggregate(self.scores, self.line.num_steps, judge.aggregation)


def choose(condition: jax.Array, new: Judged, old: Judged) -> Judged:
    """Takes `new` where `condition [R]` holds, and `old` elsewhere."""
    return jax.tree.map(
        lambda x, y: jnp.where(condition.reshape(-1, *[1] * (y.ndim - 1)), x, y), new, old
    )


def begin(writer: Writer, judge: Any, prompts: jax.Array) -> tuple[Problems, Judged, jax.Array]:
    """Starts solutions of `prompts [B, P]`.

    Returns:
        The problems, an empty solution of each, and the tokens `[B]` int32 that the judge reads
        once for all solutions of a problem.
    """
    draft = writer.start(prompts)
    memory, read = judge.start(writer, draft)
    zeros = jnp.zeros_like(draft.line.length)
    scores = jnp.ones((*zeros.shape, writer.format.num_steps))
    problems = Problems(writer, judge, draft.prompt, memory.shared)
    none = jnp.zeros(zeros.shape, jnp.float32)
    return problems, Judged(draft.line, memory.own, scores, none, zeros, zeros, zeros), read


def sound(score: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scores `[R]` in [0, 1], and those that were no number: they count as 0.

    So a judge that fails on one solution spoils no other.
    """
    bad = jnp.isnan(score)
    return jnp.clip(jnp.where(bad, 0.0, score), 0.0, 1.0), bad


def with_newest(scores: jax.Array, line: Line, score: jax.Array) -> jax.Array:
    """`scores [R, S]` of steps with `score [R]` for the newest of them, if there is one."""
    newest = jnp.arange(scores.shape[1]) == (line.num_steps - 1)[:, None]
    return jnp.where(newest, score[:, None], scores)


def append(
    problems: Problems,
    judged: Judged,
    keys: jax.Array,
    sampling: Sampling,
    siblings: Siblings | None = None,
) -> tuple[Judged, Step]:
    """Appends one step to every unfinished solution, and scores it; see `sound`.

    Args:
        keys: `[R]` typed keys, consumed.
        siblings: steps that the new one must not be, if another is left; see `Writer.step`.

    Returns:
        The solutions, and the steps.
    """
    writer, judge, prompt, shared = problems
    after, step = writer.step(Draft(prompt, judged.line), keys, sampling, siblings)
    score, memory, read = judge.read(writer, after, Memory(shared, judged.memory))
    going_on, (score, bad) = ~judged.line.finished(writer.format), sound(score)
    scores = with_newest(judged.scores, after.line, score)
    return Judged(
        line=after.line,
        memory=memory.own,
        scores=jnp.where(going_on[:, None], scores, judged.scores),
        log_prob=judged.log_prob + step.prior_log_prob,
        policy_tokens=judged.policy_tokens + step.length,
        verifier_tokens=judged.verifier_tokens + jnp.where(going_on, read, 0),
        bad_scores=judged.bad_scores + (going_on & bad),
    ), step


def write(problems: Problems, judged: Judged, keys: jax.Array, sampling: Sampling) -> Judged:
    """Writes on until every solution is finished; see `append`."""

    def step(judged: Judged, keys: jax.Array) -> tuple[Judged, None]:
        return append(problems, judged, keys, sampling)[0], None

    keys = step_keys(keys, problems.writer.format.num_steps)
    return jax.lax.scan(step, judged, keys)[0]


def finish(problems: Problems, judged: Judged) -> Judged:
    """Finishes solutions by greedy decoding; the costs are those of that alone."""
    unused = jax.random.split(jax.random.key(0), len(judged.line.length))
    return write(problems, judged.costless(), unused, GREEDY)

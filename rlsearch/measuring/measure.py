"""The answers of a strategy to all problems of an examination, and what they take.

The policy, the strategy and the judge see tokens alone. The checker is asked once, about the one
answer of each problem, after the search is over.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.writer import Writer
from rlsearch.measuring.examination import Contestant, Examination
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.parameters import warn
from rlsearch.strategies.base import Budget, Solutions, Strategy
from rlsearch.verifiers.base import Judge

MAX_DRAFTS = 8192  # solutions in the making at once: each keeps its own keys and values,
MAX_BYTES = 2**32  # and a tree those of every step; together no more than these


class Measured(NamedTuple):
    """The answers to every problem under every seed, and their cost."""

    settings: dict[str, Any]
    right: np.ndarray  # [seeds, problems] bool
    generations: np.ndarray  # [seeds, problems]
    policy_tokens: np.ndarray  # [seeds, problems]
    verifier_tokens: np.ndarray  # [seeds, problems]
    context_tokens: np.ndarray  # [seeds, problems]
    contexts: np.ndarray  # [seeds, problems]
    seconds: float  # of each seed on average, compilation left out


class Programs:
    """Compiled programs: policies whose budgets have as many tokens share one."""

    def __init__(self):
        self._compiled: dict[Any, tuple[Strategy, Any]] = {}

    def of(self, strategy: Strategy, budget: Budget, *arguments: Any) -> Any:
        """A strategy with a budget, compiled for arguments of such shapes: a writer, a judge,
        prompts and keys."""
        leaves, structure = jax.tree.flatten(arguments)
        # The strategy is kept, so that nothing else comes to have its id.
        key = id(strategy), budget, structure, *((x.shape, x.dtype) for x in leaves)
        if key not in self._compiled:

            def solve(writer: Writer, judge: Judge, prompts: jax.Array, keys: jax.Array):
                return _answers(strategy.solve(writer, judge, prompts, keys, budget))

            self._compiled[key] = strategy, jax.jit(solve).lower(*arguments).compile()
        return self._compiled[key][1]


def measure_each(
    strategy: Strategy,
    contestants: Iterable[Contestant],
    judge: Judge,
    examination: Examination,
    budget: int,
    seeds: Sequence[int],
) -> Iterator[tuple[Contestant, Measured]]:
    """Yields the results of `measure` for those contestants whose budget can be spent."""
    programs = Programs()
    for contestant in contestants:
        found = measure(strategy, contestant, judge, examination, budget, seeds, programs)
        if found is not None:
            yield contestant, found


def measure(
    strategy: Strategy,
    contestant: Contestant,
    judge: Judge,
    examination: Examination,
    budget: int,
    seeds: Sequence[int],
    programs: Programs | None = None,
) -> Measured | None:
    """Solves all problems, under all seeds; None where the budget cannot be spent.

    They are one batch, or where that would hold too many solutions in the making at once (see
    `most_drafts`), batches of equal size: a problem's answer does not depend on its batch.

    Args:
        budget: in mean sampled solutions.
        programs: those that are compiled already.
    """
    writer, allowance = contestant.writer, contestant.budget(budget)
    settings = strategy.settings(writer.policy, allowance)
    if settings is None:
        return None
    prompts, keys = under_seeds(examination.prompts, seeds)
    parts = in_parts(len(prompts), most_drafts(writer, prompts) // budget)
    first = prompts[parts[0]], keys[parts[0]]
    solve = (programs or Programs()).of(strategy, allowance, writer, judge, *first)
    began = time.monotonic()
    each = [solve(writer, judge, prompts[part], keys[part]) for part in parts]
    tokens, *costs, bad = (np.concatenate(x)[: len(prompts)] for x in zip(*each, strict=True))
    warn_of_bad_scores(judge, bad)
    seconds = (time.monotonic() - began) / len(seeds)
    right = np.asarray(examination.task.check_tokens(prompts, jnp.asarray(tokens)))
    by_seed = (x.reshape(len(seeds), -1) for x in (right, *costs))
    return Measured(settings, *by_seed, seconds=seconds)


def most_drafts(writer: Writer, prompts: jax.Array) -> int:
    """The number of solutions in the making that may be kept at once."""
    line = jax.eval_shape(writer.start, prompts[:1]).line
    bytes_of_one = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(line))
    return min(MAX_DRAFTS, MAX_BYTES // (bytes_of_one * writer.format.num_steps))


def _answers(solved: Solutions) -> tuple[jax.Array, ...]:
    """The answer to each problem, its cost, and how many scores were bad."""
    costs = solved.generations, solved.policy_tokens, solved.verifier_tokens
    rest = solved.context_tokens, solved.contexts, solved.bad_scores
    return solved.tokens, *costs, *(jnp.broadcast_to(x, solved.score.shape) for x in rest)


def under_seeds(prompts: jax.Array, seeds: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Every problem once for each seed, those of a seed side by side, and their keys."""
    keys = [row_keys(jax.random.key(seed), len(prompts)) for seed in seeds]
    return jnp.tile(prompts, (len(seeds), 1)), jnp.concatenate(keys)


def warn_of_bad_scores(judge: Judge, bad: np.ndarray) -> None:
    """Tells of scores that were no numbers, of which there are `bad [problems]`."""
    if bad.any():
        warn(
            f"verifier {judge.label!r} gave {bad.sum()} scores that are no numbers, in "
            f"{(bad > 0).sum()} of {len(bad)} problems: they count as 0"
        )


def in_parts(number: int, largest: int) -> np.ndarray:
    """`[parts, size]` int, the places 0 to `number` in parts of equal size; the last is repeated.

    No part is larger than `largest`, or than 1 where that is smaller.
    """
    parts = -(-number // max(1, largest))
    size = -(-number // parts)
    return np.minimum(np.arange(parts * size), number - 1).reshape(parts, size)

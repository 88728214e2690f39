"""Judging rows on the host: in threads, each row in a bounded time, no failure beyond its row."""

from typing import Any, NamedTuple

import jax
import numpy as np

from rlsearch.parallel.bounded import in_threads
from rlsearch.runs.stage import HostJudge


class Judged(NamedTuple):
    """Judgements of rows, and those that could not be had."""

    verdict: Any  # as `HostJudge.judge` returns it
    failed: Any  # bool: its judge raised, took too long, or returned something else


def judge_rows(judge: HostJudge, produced: Any) -> dict[int, Judged]:
    """Judges the rows of `produced`, `[K, ...]` leaves, that lie on this process's devices.

    Returns:
        The judgements by the rows' numbers.
    """
    rows = local_rows(produced)
    found = in_threads(judge.judge, rows, judge.threads, judge.seconds)
    judged = {}
    for number in rows:
        verdict = found.get(number)
        failed = not _fits(verdict, judge.failed)
        verdict = judge.failed if failed else verdict
        arrays = jax.tree.map(
            lambda x, like: np.asarray(x, np.asarray(like).dtype), verdict, judge.failed
        )
        judged[number] = Judged(arrays, np.bool_(failed))
    return judged


def local_rows(produced: Any) -> dict[int, Any]:
    """The rows of arrays `[K, ...]` that this process holds, by their numbers, on the host."""
    leaves, structure = jax.tree.flatten(produced)
    columns: list[dict[int, np.ndarray]] = []
    for leaf in leaves:
        column: dict[int, np.ndarray] = {}
        for shard in leaf.addressable_shards:
            first = shard.index[0].start or 0
            values = np.asarray(shard.data)
            column |= {first + place: values[place] for place in range(len(values))}
        columns.append(column)
    return {
        number: jax.tree.unflatten(structure, [column[number] for column in columns])
        for number in sorted(columns[0])
    }


def _fits(verdict: Any, like: Any) -> bool:
    """Tells whether a judgement has structure and shapes of another, and only finite numbers."""
    try:
        if jax.tree.structure(verdict) != jax.tree.structure(like):
            return False
        pairs = zip(jax.tree.leaves(verdict), jax.tree.leaves(like), strict=True)
        return all(np.shape(x) == np.shape(y) and np.isfinite(x).all() for x, y in pairs)
    except (TypeError, ValueError):
        return False

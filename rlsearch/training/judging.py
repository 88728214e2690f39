"""Judging rows on the host: in threads, each row in a bounded time, no failure beyond its row."""

import queue
import threading
import time
from typing import Any, NamedTuple

import jax
import numpy as np

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
    found = _in_threads(judge, rows)
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


def _in_threads(judge: HostJudge, rows: dict[int, Any]) -> dict[int, Any]:
    """The judgements that come in time. A thread that hangs is left behind, and replaced."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    done: queue.SimpleQueue = queue.SimpleQueue()
    for number, row in rows.items():
        waiting.put((number, row))
    began: dict[int, float] = {}

    def work() -> None:
        while True:
            try:
                number, row = waiting.get_nowait()
            except queue.Empty:
                return
            began[number] = time.monotonic()
            try:
                verdict = judge.judge(row)
            except BaseException:  # a user's function may raise anything
                verdict = None
            done.put((number, verdict))

    def start() -> None:
        # No executor: it waits for its threads at exit, and one that hangs would never end.
        threading.Thread(target=work, daemon=True).start()

    for _ in range(min(judge.threads, len(rows))):
        start()
    found: dict[int, Any] = {}
    late: set[int] = set()
    while len(found) + len(late) < len(rows):
        try:
            number, verdict = done.get(timeout=0.05)
            if number not in late:
                found[number] = verdict
        except queue.Empty:
            pass
        now = time.monotonic()
        for number, at in list(began.items()):
            if number not in found and number not in late and now - at > judge.seconds:
                late.add(number)
                start()
    return found


def _fits(verdict: Any, like: Any) -> bool:
    """Tells whether a judgement has structure and shapes of another, and only finite numbers."""
    try:
        if jax.tree.structure(verdict) != jax.tree.structure(like):
            return False
        pairs = zip(jax.tree.leaves(verdict), jax.tree.leaves(like), strict=True)
        return all(np.shape(x) == np.shape(y) and np.isfinite(x).all() for x, y in pairs)
    except (TypeError, ValueError):
        return False

"""Functions of somebody else, on the host: in threads, and in a bounded time."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any


def in_threads(
    function: Callable[[Any], Any], rows: Mapping[int, Any], threads: int, seconds: float
) -> dict[int, Any]:
    """Calls a function for each row, that many at once.

    A thread that hangs is left behind, and replaced; it must let others run, as Python code does.

    Args:
        seconds: for each call.

    Returns:
        The results by the rows' numbers, without those of calls that raised or took longer.
    """
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
                done.put((number, True, function(row)))
            except BaseException:  # a user's function may raise anything
                done.put((number, False, None))

    def start() -> None:
        # No executor: it waits for its threads at exit, and one that hangs would never end.
        threading.Thread(target=work, daemon=True).start()

    for _ in range(min(threads, len(rows))):
        start()
    found: dict[int, Any] = {}
    over: set[int] = set()  # those that were heard of, or are not waited for any more
    while len(over) < len(rows):
        try:
            number, came, result = done.get(timeout=0.05)
            if number not in over and came:
                found[number] = result
            over.add(number)
        except queue.Empty:
            pass
        now = time.monotonic()
        for number, at in list(began.items()):
            if number not in over and now - at > seconds:
                over.add(number)
                start()
    return found

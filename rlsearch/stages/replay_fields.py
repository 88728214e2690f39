"""The fields of a stage that decide how large its step is."""

from typing import Any, NamedTuple


class Size(NamedTuple):
    """Names of fields."""

    at_once: str  # problems, games or solutions of a step
    remembered: str  # rows, or positions, that are kept
    rows_of_one: int  # rows kept of each of `at_once`; 0: they are counted otherwise


def sizes_of(stage: Any) -> tuple[str, Size]:
    """The group of a stage's fields that has its size (empty: the stage itself), and their names.

    A stage without a method `sizes` has a `batch_size` alone.
    """
    sizes = getattr(stage, "sizes", None)
    return sizes() if sizes else ("", Size("batch_size", "batch_size", 0))

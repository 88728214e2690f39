"""Writes the rows of a stage that learns nothing: the devices make a part, the host files it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from rlsearch.parallel.agreement import is_main, on_any_process, wait_for_all
from rlsearch.parallel.mesh import batch_shards, over_data, row_keys, split_over_data
from rlsearch.runs.stage import Params, RowsInMaking, Writing


def write_parts(
    writing: Writing,
    rows: RowsInMaking,
    read: Mapping[str, Params],
    mesh: Mesh,
    key_of: Callable[[int], jax.Array],
) -> Iterator[dict[str, float]]:
    """Fills a folder, and yields after each part what is known of all so far.

    Args:
        read: the parameters that the stage reads, by their role.
        key_of: a part's number to its random key: parts on file are not made again.
    """
    produce = over_data(mesh, writing.produce)

    def part(read: Mapping[str, Params], key: jax.Array) -> Any:
        return produce(read, split_over_data(mesh, row_keys(key, writing.num_keys)))

    make: Any = jax.jit(part)
    if jax.process_count() > 1:  # or one of them waits for the others in the first collective
        make = make.lower(read, key_of(0)).compile()
        wait_for_all(f"rlsearch has compiled {writing.name}")
    while not rows.complete:
        if on_any_process(is_main() and rows.is_there()):
            known = rows.take()
        else:
            known = rows.add(_on_host(make(read, key_of(rows.num_parts))))
        wait_for_all(f"rlsearch has part {rows.num_parts} of {writing.name}")
        yield known


def _on_host(rows: Any) -> Any:
    """All rows, on every host."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(rows, tiled=True)
    return jax.tree.map(np.asarray, rows)


def check_parts(writing: Writing, mesh: Mesh) -> None:
    """Raises ValueError where a part cannot be split evenly over the mesh."""
    shards = batch_shards(mesh)
    if writing.num_keys % shards:
        raise ValueError(
            f"stage {writing.name!r} takes {writing.num_keys} problems at once: they must be a "
            f"multiple of parallel.replica x data, {shards}"
        )

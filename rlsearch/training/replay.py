"""A ring of rows on the device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Replay(NamedTuple):
    """The newest rows; `capacity` of each array's first axis, and how many were ever added."""

    rows: Any  # a pytree of [capacity, ...]
    added: jax.Array  # [] int32


def empty_replay(row: Any, capacity: int) -> Replay:
    """An empty ring for rows like the abstract batch `row` (`[B, ...]` leaves)."""
    rows = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape[1:]), x.dtype), row)
    return Replay(rows, jnp.zeros((), jnp.int32))


def add(replay: Replay, batch: Any) -> Replay:
    """Writes a batch over the oldest rows. The capacity is a multiple of the batch."""
    size = jax.tree.leaves(batch)[0].shape[0]
    capacity = jax.tree.leaves(replay.rows)[0].shape[0]
    if capacity % size:
        raise ValueError(f"a replay of {capacity} rows cannot take batches of {size}")
    at = replay.added % capacity
    rows = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), at, 0),
        replay.rows,
        batch,
    )
    return Replay(rows, replay.added + size)


def sample(replay: Replay, key: jax.Array, size: int) -> Any:
    """`size` rows, drawn evenly and with replacement among those that were added."""
    capacity = jax.tree.leaves(replay.rows)[0].shape[0]
    filled = jnp.minimum(replay.added, capacity)
    index = jax.random.randint(key, (size,), 0, filled)
    return jax.tree.map(lambda x: x[index], replay.rows)

"""A ring of rows on the device: the newest ones of every lane.

A lane is a place in which rows come one after another: a game's place in self-play, a place in the
batch of problems elsewhere. Lanes never mix here, so that each device keeps its own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Replay(NamedTuple):
    """B lanes of `capacity` rows each; row i of a lane is its i-th, modulo the capacity."""

    rows: Any  # a pytree of [B, capacity, ...]
    added: jax.Array  # [B] int32, rows ever added to each lane; the same for all


def empty_replay(rows: Any, capacity: int) -> Replay:
    """An empty ring for rows like the abstract `rows`, `[B, T, ...]` leaves."""
    lanes = jax.tree.leaves(rows)[0].shape[0]
    empty = jax.tree.map(lambda x: jnp.zeros((lanes, capacity, *x.shape[2:]), x.dtype), rows)
    return Replay(empty, jnp.zeros((lanes,), jnp.int32))


def add(replay: Replay, rows: Any) -> Replay:
    """Writes T rows of each lane, `[B, T, ...]`, over its oldest. T divides the capacity."""
    length, capacity = jax.tree.leaves(rows)[0].shape[1], capacity_of(replay)
    if capacity % length:
        raise ValueError(f"a replay of {capacity} rows a lane cannot take {length} at once")
    at = replay.added[0] % capacity
    written = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), at, 1),
        replay.rows,
        rows,
    )
    return Replay(written, replay.added + length)


def capacity_of(replay: Replay) -> int:
    """Rows that a lane has room for."""
    return jax.tree.leaves(replay.rows)[0].shape[1]


def ages(replay: Replay) -> jax.Array:
    """`[B, capacity]` int32, for each row how many of its lane came after it; -1 where none is."""
    place, capacity = jnp.arange(capacity_of(replay)), capacity_of(replay)
    age = (replay.added[:, None] - 1 - place) % capacity
    return jnp.where(age < replay.added[:, None], age, -1)


def sample(replay: Replay, key: jax.Array, size: int) -> Any:
    """`size` rows, drawn evenly and with replacement among those that are there."""
    lanes = replay.added.shape[0]
    filled = jnp.minimum(replay.added[0], capacity_of(replay))
    index = jax.random.randint(key, (size,), 0, lanes * filled)
    return jax.tree.map(lambda x: x[index % lanes, index // lanes], replay.rows)

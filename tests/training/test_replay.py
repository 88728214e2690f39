import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.training.replay import add, empty_replay, sample


def batch(first, size=4):
    """Rows that are told apart by their number, in two arrays that belong together."""
    number = jnp.arange(first, first + size)
    return {"number": number, "pair": jnp.stack([number, -number], axis=1).astype(jnp.float32)}


def filled(batches, capacity=12, size=4):
    replay = empty_replay(batch(0, size), capacity)
    for index in range(batches):
        replay = add(replay, batch(1 + index * size, size))
    return replay


def test_an_empty_ring_has_the_rows_shapes_and_dtypes():
    rows = jax.eval_shape(lambda: batch(0))
    replay = empty_replay(rows, 12)
    assert replay.rows["number"].shape == (12,) and replay.rows["number"].dtype == jnp.int32
    assert replay.rows["pair"].shape == (12, 2) and replay.rows["pair"].dtype == jnp.float32
    assert replay.added == 0


@pytest.mark.parametrize(
    ("batches", "numbers"),
    [
        (1, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        (3, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        (4, [13, 14, 15, 16, 5, 6, 7, 8, 9, 10, 11, 12]),
        (8, [25, 26, 27, 28, 29, 30, 31, 32, 21, 22, 23, 24]),
    ],
)
def test_the_oldest_rows_are_written_over(batches, numbers):
    replay = filled(batches)
    assert replay.rows["number"].tolist() == numbers
    assert replay.rows["pair"][:, 0].tolist() == numbers
    assert replay.added == 4 * batches


@pytest.mark.parametrize(("batches", "there"), [(1, range(1, 5)), (2, range(1, 9))])
def test_only_what_was_added_is_sampled(batches, there):
    drawn = sample(filled(batches), jax.random.key(0), 400)
    assert set(drawn["number"].tolist()) == set(there)


def test_samples_are_even_and_rows_stay_together():
    drawn = sample(filled(5), jax.random.key(1), 6000)  # the last 12 of 20 rows
    numbers, counts = np.unique(drawn["number"], return_counts=True)
    assert numbers.tolist() == list(range(9, 21))
    assert abs(counts - 500).max() < 5 * np.sqrt(500)
    np.testing.assert_array_equal(drawn["pair"][:, 0], drawn["number"])
    np.testing.assert_array_equal(drawn["pair"][:, 1], -drawn["number"])


def test_a_batch_that_is_the_whole_ring_replaces_it():
    assert filled(3, capacity=4).rows["number"].tolist() == [9, 10, 11, 12]


def test_a_batch_that_does_not_divide_the_ring_is_refused():
    with pytest.raises(ValueError, match="a replay of 12 rows cannot take batches of 5"):
        add(empty_replay(batch(0), 12), batch(0, 5))

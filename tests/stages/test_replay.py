import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.stages.replay import add, ages, empty_replay, sample

LANES = 3


def rows(first, length=2):
    """Rows told apart by their number (the lane's hundred and the row), in two arrays."""
    number = 100 * jnp.arange(LANES)[:, None] + jnp.arange(first, first + length)
    return {"number": number, "pair": jnp.stack([number, -number], axis=2).astype(jnp.float32)}


def filled(times, capacity=6, length=2):
    replay = empty_replay(rows(0, length), capacity)
    for index in range(times):
        replay = add(replay, rows(1 + index * length, length))
    return replay


def test_an_empty_ring_has_the_rows_shapes_and_dtypes():
    replay = empty_replay(jax.eval_shape(lambda: rows(0)), 6)
    assert replay.rows["number"].shape == (LANES, 6)
    assert replay.rows["number"].dtype == jnp.int32
    assert replay.rows["pair"].shape == (LANES, 6, 2)
    assert replay.rows["pair"].dtype == jnp.float32
    assert not replay.added.any() and (ages(replay) == -1).all()


@pytest.mark.parametrize(
    ("times", "numbers", "age"),
    [
        (1, [1, 2, 0, 0, 0, 0], [1, 0, -1, -1, -1, -1]),
        (3, [1, 2, 3, 4, 5, 6], [5, 4, 3, 2, 1, 0]),
        (4, [7, 8, 3, 4, 5, 6], [1, 0, 5, 4, 3, 2]),
        (8, [13, 14, 15, 16, 11, 12], [3, 2, 1, 0, 5, 4]),
    ],
)
def test_the_oldest_rows_are_written_over(times, numbers, age):
    replay = filled(times)
    for lane in range(LANES):
        there = [100 * lane + number if number else 0 for number in numbers]
        assert replay.rows["number"][lane].tolist() == there
        assert replay.rows["pair"][lane, :, 0].tolist() == there
        assert ages(replay)[lane].tolist() == age
    assert (replay.added == 2 * times).all()


@pytest.mark.parametrize(("times", "there"), [(1, range(1, 3)), (2, range(1, 5))])
def test_only_what_was_added_is_sampled(times, there):
    drawn = sample(filled(times), jax.random.key(0), 400)
    assert set(drawn["number"].tolist()) == {100 * lane + n for lane in range(LANES) for n in there}


def test_samples_are_even_and_rows_stay_together():
    drawn = sample(filled(5), jax.random.key(1), 9000)  # the last 6 of 10 rows of each lane
    numbers, counts = np.unique(drawn["number"], return_counts=True)
    assert numbers.tolist() == [100 * lane + n for lane in range(LANES) for n in range(5, 11)]
    assert abs(counts - 500).max() < 5 * np.sqrt(500)
    np.testing.assert_array_equal(drawn["pair"][:, 0], drawn["number"])
    np.testing.assert_array_equal(drawn["pair"][:, 1], -drawn["number"])


def test_rows_that_are_the_whole_ring_replace_it():
    assert filled(3, capacity=2).rows["number"][0].tolist() == [5, 6]


def test_rows_that_do_not_divide_the_ring_are_refused():
    with pytest.raises(ValueError, match="a replay of 6 rows a lane cannot take 4 at once"):
        add(empty_replay(rows(0), 6), rows(0, 4))

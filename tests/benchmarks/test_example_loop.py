import functools

import jax
import numpy as np
import pgx

from rlsearch.benchmarks.example_loop import MOVES, example_learning, example_self_play
from rlsearch.config import TowerConfig
from rlsearch.networks.board_model import BoardModel

PLACES = 4


@functools.cache
def played():
    game = pgx.make("tic_tac_toe")
    model = BoardModel(TowerConfig(num_blocks=1, channels=8, value="bounded"), (3, 3, 2), 9)
    params = jax.jit(model.init)(jax.random.key(0))
    samples = example_self_play(game, model, 2, PLACES)(params, jax.random.key(1))
    return model, params, jax.tree.map(np.asarray, samples)


def test_the_outcome_changes_its_sign_from_move_to_move():
    _, _, samples = played()
    stones = samples.observation.sum(axis=(2, 3, 4))
    assert samples.value.shape == (MOVES, PLACES) and stones.min() == 0
    goes_on = stones[1:] > stones[:-1]
    known = samples.useful[1:] & goes_on
    np.testing.assert_array_equal(samples.value[:-1][known], -samples.value[1:][known])
    ends = ~goes_on
    assert set(samples.value[:-1][ends]) <= {0.0, 1.0}  # who moves last has not lost
    assert samples.useful[:-1][ends].all() and (samples.value[:-1][ends] == 1.0).any()


def test_learning_fits_what_was_played():
    model, params, samples = played()
    start, learn = example_learning(model, 64)
    learner = start(params)
    for number in range(30):
        learner = learn(learner, samples, jax.random.key(number))

    def value_error(params):
        seen = samples.observation.reshape(-1, 3, 3, 2)
        value = model.evaluate(params, seen)[1].reshape(samples.value.shape)
        return np.square(value - samples.value)[samples.useful].mean()

    assert value_error(learner.params) < 0.8 * value_error(params)

"""Stored positions that are searched anew: the right ones, by the newest network, and no others."""

import dataclasses

import jax
import numpy as np
from rlsearch.objectives.self_play import found_value
from rlsearch.training.setup import load_environment, model_and_stages

from rlsearch.parallel.mesh import row_keys
from rlsearch.search.moves import search_moves
from tests.boards import tiny_board_experiment

TINY = tiny_board_experiment()
SEARCH = dataclasses.replace(TINY.search, gumbel_scale=0.0)  # so that a key has no say in it


def test_one_position_a_lane_gets_what_the_newest_network_finds():
    play = dataclasses.replace(TINY.self_play, replay_moves=9)
    configs = [
        dataclasses.replace(
            TINY, search=SEARCH, self_play=dataclasses.replace(play, reanalysed=number)
        )
        for number in (0, 1)
    ]
    model, (plain,) = model_and_stages(configs[0])
    _, (again,) = model_and_stages(configs[1])

    def speaking(seed: int):
        # Fresh heads are silent: these say something.
        params, key = model.init(jax.random.key(seed)), jax.random.key(9)
        return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(key, x.shape), params)

    first, second = (row_keys(jax.random.key(seed), plain.num_keys) for seed in (1, 2))
    params, collect = speaking(2), jax.jit(plain.collect)
    memory, _ = collect(speaking(1), plain.memory({}, first), first)
    before, _ = collect(params, memory, second)
    after, _ = jax.jit(again.collect)(params, memory, second)
    old, new = before.replay.rows, after.replay.rows
    changed = ~np.isclose(old.policy, new.policy, atol=1e-4).all(axis=2)
    # What is of the second step is found over again; of the first the network thinks otherwise now.
    assert (changed.sum(axis=1) <= 1).all() and not changed[:, 3:].any()
    assert changed.any()
    for name in ("reward", "discount", "truncated"):
        np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
    lanes, places = np.nonzero(changed)
    states = jax.tree.map(lambda x: x[lanes, places], new.state)
    keys, environment = row_keys(jax.random.key(5), len(lanes)), load_environment(TINY.environment)
    found = jax.jit(lambda s: search_moves(params, keys, s, environment, model, SEARCH))(states)
    np.testing.assert_allclose(new.policy[lanes, places], found.improved_policy, atol=1e-5)
    np.testing.assert_allclose(new.value[lanes, places], found_value(found), atol=1e-5)

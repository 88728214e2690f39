"""Stored positions that are searched anew: the right ones, by the newest network, and no others."""

import dataclasses

import jax
import numpy as np

from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Weights
from rlsearch.search.moves import search_moves
from rlsearch.stages.games import found_value
from rlsearch.stages.self_play import playing_stage
from rlsearch.training.loop import build_stages
from tests.boards import tiny_board_experiment

TINY = playing_stage(tiny_board_experiment())
SEARCH = dataclasses.replace(TINY.search, gumbel_scale=0.0)  # so that a key has no say in it


def test_one_position_a_lane_gets_what_the_newest_network_finds():
    configs = [
        tiny_board_experiment(search=SEARCH, replay_moves=9, reanalysed=number) for number in (0, 1)
    ]
    (plain,), (again,) = (build_stages(Lineage(config)) for config in configs)
    model, environment = TINY.network, TINY.environment

    def speaking(seed: int):
        # Fresh heads are silent: these say something.
        params, key = model.init(jax.random.key(seed)), jax.random.key(9)
        return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(key, x.shape), params)

    first, second = (row_keys(jax.random.key(seed), plain.num_keys) for seed in (1, 2))
    params, produce = speaking(2), jax.jit(plain.produce)
    beginning = plain.memory(Weights({}), first)
    memory, _ = produce(Weights(speaking(1)), beginning, first, None)
    before, _ = produce(Weights(params), memory, second, None)
    after, _ = jax.jit(again.produce)(Weights(params), memory, second, None)
    old, new = before.replay.rows, after.replay.rows
    changed = ~np.isclose(old.policy, new.policy, atol=1e-4).all(axis=2)
    # What is of the second step is found over again; of the first the network thinks otherwise now.
    assert (changed.sum(axis=1) <= 1).all() and not changed[:, 3:].any()
    assert changed.any()
    for name in ("reward", "discount", "truncated"):
        np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
    lanes, places = np.nonzero(changed)
    states = jax.tree.map(lambda x: x[lanes, places], new.state)
    keys = row_keys(jax.random.key(5), len(lanes))
    found = jax.jit(lambda s: search_moves(params, keys, s, environment, model, SEARCH))(states)
    np.testing.assert_allclose(new.policy[lanes, places], found.improved_policy, atol=1e-5)
    np.testing.assert_allclose(new.value[lanes, places], found_value(found), atol=1e-5)

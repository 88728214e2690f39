"""A search over a mesh: tensor parallelism inside its loops, and nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import ParallelConfig, SearchConfig, ShardingRules
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import make_mesh, over_data, row_keys
from rlsearch.parallel.sharding import gathered, param_shardings
from rlsearch.planning.collectives import collectives, num_loops
from rlsearch.search.search import search
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker
from tests.toy import A, B, C, ToyTask, judge_for, perturbed, toy_format, wide_model

ROWS = 16
PROMPTS = jnp.tile(jnp.array([[2, 3, 1], [4, 4, 1]], jnp.int32), (ROWS // 2, 1))
MODEL, PARAMS = wide_model(num_layers=1, num_kv_heads=2)  # which four devices cannot share
POLICY = Policy(MODEL, toy_format(), ToyTask().answers)
MESHES = [  # replica, data, model
    (1, 8, 1),
    (1, 4, 2),
    (1, 2, 4),
    pytest.param((2, 2, 2), marks=pytest.mark.slow),
]


@functools.cache
def searched(sizes, gather=True):
    """What devices say in a search from 16 roots, its loops, and what it finds."""
    mesh = make_mesh(ParallelConfig(*sizes))
    config = SearchConfig(num_simulations=8, num_candidates=3, value_scale=0.5)
    shardings = param_shardings(MODEL.logical_axes(), PARAMS, mesh, ShardingRules())

    def one(params, prompts, keys):
        writer, critic = Writer(POLICY, params), Checker(judge_for((A, B, C), (B, B, A)))
        found = search(writer, critic, writer.start(prompts), Memory(), keys, config)
        return found.line.tokens, found.visit_counts, found.improved_policy

    def run(params, prompts, keys):
        if gather:
            params = jax.lax.with_sharding_constraint(params, gathered(shardings))
            return over_data(mesh, one)(params, prompts, keys)
        return one(params, prompts, keys)  # left to the compiler alone

    params = jax.device_put(perturbed(PARAMS), shardings)
    keys = row_keys(jax.random.key(0), ROWS)
    program = jax.jit(run).lower(params, PROMPTS, keys).compile()
    arguments = jax.device_put((params, PROMPTS, keys), program.input_shardings[0])
    found = collectives(program.as_text(), mesh)
    return found, num_loops(program.as_text()), jax.device_get(program(*arguments))


@pytest.mark.parametrize("sizes", MESHES)
def test_a_search_loop_talks_over_model_alone(sizes):
    found, loops, _ = searched(sizes)
    assert loops >= 3  # simulations, the way down the tree, tokens
    inside = {(c.kind, c.axes) for c in found if c.loops}
    # The two sums of a transformer block, and that of the value head.
    assert inside == ({("all-reduce", ("model",))} if sizes[2] > 1 else set())
    assert sum(bool(c.loops) for c in found) == (3 if sizes[2] > 1 else 0)
    before = {(c.kind, c.axes) for c in found if "data" in c.axes or "replica" in c.axes}
    assert before == {("all-gather", ("data",))}  # parameters, once


def test_it_would_be_noticed_if_a_search_loop_talked_over_data():
    found, _, _ = searched((1, 8, 1), gather=False)
    assert any("data" in c.axes for c in found if c.loops)


@pytest.mark.parametrize("sizes", MESHES)
def test_what_a_search_finds_does_not_depend_on_the_mesh(sizes):
    """Sums over `model` are in another order: tokens and visits are equal, the policy nearly so."""
    tokens, visits, policy = searched((1, 1, 1))[2]
    split_tokens, split_visits, split_policy = searched(sizes)[2]
    np.testing.assert_array_equal(tokens, split_tokens)
    np.testing.assert_array_equal(visits, split_visits)
    np.testing.assert_allclose(policy, split_policy, atol=1e-5)
    assert len(np.unique(tokens, axis=0)) > 1

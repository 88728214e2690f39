import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import TowerConfig
from rlsearch.networks.board_model import BoardModel
from rlsearch.networks.residual_tower import tower_flops

BOARD, FLAT, ACTIONS, ROWS = (4, 5, 3), (1, 1, 34), 7, 6
SMALL = TowerConfig(num_blocks=2, channels=8, value_dim=6)


@functools.cache
def built(shape=BOARD, **fields):
    """A model, parameters with noise (fresh heads say nearly nothing), and observations."""
    model = BoardModel(dataclasses.replace(SMALL, **fields), shape, ACTIONS)
    params = jax.jit(model.init)(jax.random.key(0))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.1 * random.standard_normal(x.shape, np.float32), params)
    observations = jax.random.normal(jax.random.key(1), (ROWS, *shape))
    return model, params, observations


VARIANTS = [
    {},
    {"squeeze_excite": 4},
    {"shape": FLAT},
    {"value": "bounded"},
    {"dtype": "bfloat16", "squeeze_excite": 2},
]


@pytest.mark.parametrize("fields", VARIANTS)
def test_the_heads_have_one_row_a_position_in_float32(fields):
    model, params, observations = built(**fields)
    policy, logits = jax.jit(model.heads)(params, observations)
    assert policy.shape == (ROWS, ACTIONS)
    assert logits.shape == (ROWS, 3 if model.config.value == "outcomes" else 1)
    value = model.value(logits)
    assert value.shape == (ROWS,)
    assert {x.dtype for x in (policy, logits, value)} == {np.dtype("float32")}
    assert float(jnp.abs(value).max()) < 1.0
    assert np.ptp(policy[:, 0]) > 0 and np.ptp(value) > 0  # what is seen has a say


@pytest.mark.parametrize("fields", VARIANTS[:3])
def test_a_position_does_not_depend_on_the_others_of_its_batch(fields):
    model, params, observations = built(**fields)
    heads = jax.jit(model.heads)
    whole = heads(params, observations)
    others = heads(params, observations.at[1:].set(5.0 * observations[1:] + 1.0))
    for one, other in zip(whole, others, strict=True):
        np.testing.assert_allclose(one[0], other[0], atol=1e-5)
        assert np.abs(one[1:] - other[1:]).max() > 1e-3


def test_evaluating_is_the_heads_with_their_value():
    model, params, observations = built()
    policy, logits = jax.jit(model.heads)(params, observations)
    again, value = jax.jit(model.evaluate)(params, observations)
    np.testing.assert_allclose(policy, again, atol=1e-6)
    np.testing.assert_allclose(value, model.value(logits), atol=1e-6)


def test_bfloat16_is_close_to_float32():
    model, params, observations = built()
    half = dataclasses.replace(model, config=dataclasses.replace(model.config, dtype="bfloat16"))
    heads = (jax.jit(each.heads)(params, observations) for each in (model, half))
    for one, other in zip(*heads, strict=True):
        np.testing.assert_allclose(one, other, atol=0.15)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


def test_bfloat16_is_what_the_convolutions_compute_in():
    model, params, observations = built(dtype="bfloat16")
    text = str(jax.make_jaxpr(model.heads)(params, observations))
    convolutions = [line for line in text.splitlines() if "conv_general_dilated" in line]
    assert convolutions and all(":bf16[" in line for line in convolutions)


def test_a_value_of_outcomes_is_winning_less_losing():
    model = BoardModel(SMALL, BOARD, ACTIONS)
    logits = jnp.array([[0.0, 0.0, 50.0], [0.0, 50.0, 0.0], [50.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(model.value(logits), [1.0, 0.0, -1.0, 0.0], atol=1e-6)
    wild = model.value(100 * jax.random.normal(jax.random.key(0), (1000, 3)))
    assert float(jnp.abs(wild).max()) <= 1.0


@pytest.mark.parametrize("value", ["outcomes", "bounded", "unbounded"])
@pytest.mark.parametrize("target", [-0.9, -0.3, 0.0, 0.5, 0.8])
def test_the_value_loss_is_least_where_the_value_is_the_target(value, target):
    model = BoardModel(dataclasses.replace(SMALL, value=value), BOARD, ACTIONS)
    loss = lambda logits: model.value_loss(logits, jnp.float32(target))  # noqa: E731
    gradient = jax.grad(loss)
    logits = jnp.zeros(3 if value == "outcomes" else 1)
    logits = jax.lax.fori_loop(0, 3000, lambda _, x: x - 0.5 * gradient(x), logits)
    np.testing.assert_allclose(model.value(logits), target, atol=0.01)
    assert float(loss(logits)) <= float(loss(logits + 0.1 * jnp.arange(1, logits.size + 1)))


def test_the_outcomes_learnt_from_are_a_mixture_of_a_draw_and_a_decision():
    model = BoardModel(SMALL, BOARD, ACTIONS)
    logits = jnp.log(jnp.array([0.2, 0.5, 0.3]))
    for target, expected in ((1.0, 0.3), (0.0, 0.5), (-1.0, 0.2)):
        np.testing.assert_allclose(
            model.value_loss(logits, jnp.float32(target)), -np.log(expected), rtol=1e-5
        )
    half = model.value_loss(logits, jnp.float32(-0.5))
    np.testing.assert_allclose(half, -0.5 * np.log(0.2) - 0.5 * np.log(0.5), rtol=1e-5)


@pytest.mark.parametrize("fields", VARIANTS[:3])
def test_parameters_are_counted(fields):
    model, params, _ = built(**fields)
    assert model.num_params() == sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("shape", [BOARD, FLAT, (2, 3, 4)])
def test_flops_are_those_of_the_kernels(shape):
    model = BoardModel(SMALL, shape, ACTIONS)
    params = jax.eval_shape(model.init, jax.random.key(0))
    cells, expected = shape[0] * shape[1], 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key == "kernel":
            expected += 2 * leaf.size * (cells if leaf.ndim == 4 else 1)
    hidden = 2 * SMALL.value_dim * 3  # the last product of the value head is left out
    assert tower_flops(model.config, shape, ACTIONS) == expected - hidden


def test_a_fresh_network_prefers_nothing():
    model = BoardModel(SMALL, BOARD, ACTIONS)
    params = jax.jit(model.init)(jax.random.key(0))
    observations = jax.random.normal(jax.random.key(1), (ROWS, *BOARD))
    policy, value = jax.jit(model.evaluate)(params, observations)
    assert float(jax.nn.softmax(policy).max()) < 1.5 / ACTIONS
    assert float(jnp.abs(value).max()) < 0.2

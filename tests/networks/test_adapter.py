"""Adapters: nothing at first, the same in the weights as beside them, and alone with a gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import Adapter, TransformerConfig
from rlsearch.networks.by_name import joined, of_names
from rlsearch.networks.language_model import LanguageModel

SHAPE = {
    "embed_dim": 16,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 8,
    "mlp_dim": 24,
    "qkv_bias": True,
}
TOKENS = jnp.arange(10).reshape(2, 5)
LEARNT = ("adapter", "value_head")


def made(rank=3, **changes):
    config = TransformerConfig(**SHAPE, adapter=Adapter(rank, alpha=6.0), **changes)
    model = LanguageModel(config, 11)
    return model, model.init(jax.random.key(0))


def moved(params):
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
    keys = jax.tree.unflatten(jax.tree.structure(params), list(keys))
    return jax.tree.map(lambda x, key: x + 0.1 * jax.random.normal(key, x.shape), params, keys)


def logits(model, params):
    return model.policy_logits(params, model.read(params, TOKENS)[0])


@pytest.mark.parametrize("stacked", [False, True])
def test_a_fresh_adapter_adds_nothing(stacked):
    model, params = made(scan_layers=stacked)
    plain = model.without_adapter
    assert plain.config == TransformerConfig(**SHAPE, scan_layers=stacked)
    bare = plain.init(jax.random.key(0))
    merged = model.merged(params)
    assert jax.tree.structure(merged) == jax.tree.structure(bare)
    np.testing.assert_array_equal(logits(model, params), logits(model, merged))
    # Weights are drawn in the order in which they are made: the first of all is the same.
    np.testing.assert_array_equal(params["embedding"], bare["embedding"])


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_with_the_adapter_in_them_say_the_same(stacked, dtype):
    model, params = made(scan_layers=stacked, dtype=dtype)
    params = moved(params)
    found, computed = logits(model, params), model.computed(params)
    assert jax.tree.structure(computed) == jax.tree.structure(model.merged(params))
    np.testing.assert_allclose(
        found, logits(model, computed), atol=1e-5 if dtype == "float32" else 0.1
    )
    without = of_names(jax.tree.map(jnp.zeros_like, params), ("up",))
    assert np.abs(found - logits(model, joined(without, params))).max() > 0.1


def test_what_is_added_is_the_product_times_alpha_over_the_rank():
    model, params = made()
    params = moved(params)
    for part, target in (("attention", "query"), ("attention", "out"), ("mlp", "down")):
        block = params["blocks"][1][part]
        pair, weight = block["adapter"][target], block[target]
        rows = np.asarray(pair["down"]).reshape(-1, 3) @ np.asarray(pair["up"]).reshape(3, -1)
        wanted = weight + 6.0 / 3 * rows.reshape(weight.shape)
        found = model.merged(params)["blocks"][1][part][target]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_some_weights_alone_may_have_one():
    model, params = made()
    few = Adapter(2, targets=("query", "value"))
    model = dataclasses.replace(model, config=dataclasses.replace(model.config, adapter=few))
    params = model.init(jax.random.key(0))
    assert set(params["blocks"][0]["attention"]["adapter"]) == {"query", "value"}
    assert "adapter" not in params["blocks"][0]["mlp"]
    np.testing.assert_allclose(
        logits(model, moved(params)), logits(model, model.merged(moved(params))), atol=1e-5
    )


def test_what_is_not_learnt_has_no_gradient_and_costs_no_product():
    model, params = made()

    def gradient(names):
        def loss(part):
            return logits(model, joined(part, params)).sum()

        compiled = jax.jit(jax.grad(loss)).lower(of_names(params, names)).compile()
        return compiled(of_names(params, names)), compiled.cost_analysis()["flops"]

    whole, all_flops = gradient(())
    part, flops = gradient(LEARNT)
    assert flops < 0.9 * all_flops
    assert part["embedding"] is None and part["blocks"][0]["attention"]["query"] is None
    own = of_names(whole, LEARNT)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), part, own)
    assert np.abs(part["blocks"][0]["mlp"]["adapter"]["gate"]["up"]).max() > 0


def test_names_that_no_parameter_has_are_refused():
    _, params = made(rank=0)
    assert of_names(params, ()) is params
    with pytest.raises(ValueError, match=r"\['adapter'\]: they must be among attention, "):
        of_names(params, ("adapter",))

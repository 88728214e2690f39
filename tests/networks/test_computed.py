"""Parameters in the dtype that they are computed with: the same results, in fewer bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import TowerConfig, TransformerConfig
from rlsearch.networks.board_model import BoardModel
from rlsearch.networks.language_model import LanguageModel

SHAPE = {
    "embed_dim": 16,
    "num_layers": 2,
    "num_heads": 2,
    "num_kv_heads": 1,
    "head_dim": 8,
    "mlp_dim": 24,
    "qkv_bias": True,
    "qk_norm": True,
    "tie_embeddings": False,
}
BOARD = (3, 3, 2)


def moved(params):
    """Parameters none of which is what it was initialised with."""
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
    keys = jax.tree.unflatten(jax.tree.structure(params), list(keys))
    return jax.tree.map(lambda x, key: x + 0.1 * jax.random.normal(key, x.shape), params, keys)


def language(dtype):
    model = LanguageModel(TransformerConfig(**SHAPE, dtype=dtype), 11)

    def read(params):
        hidden, _ = model.read(params, jnp.arange(10).reshape(2, 5))
        return model.policy_logits(params, hidden), model.value_logit(params, hidden)

    return model, read


def boards(dtype):
    tower = TowerConfig(channels=8, num_blocks=2, squeeze_excite=2, dtype=dtype)
    model = BoardModel(tower, BOARD, 9)
    observations = jax.random.normal(jax.random.key(2), (4, *BOARD))
    return model, lambda params: model.heads(params, observations)


@pytest.mark.parametrize("made", [language, boards])
def test_what_a_network_says_does_not_change(made):
    model, read = made("bfloat16")
    params = moved(model.init(jax.random.key(0)))
    computed = model.computed(params)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(read)(computed), jax.jit(read)(params))
    size, before = (sum(x.nbytes for x in jax.tree.leaves(tree)) for tree in (computed, params))
    assert before / 2 < size < 0.75 * before
    assert {x.dtype.name for x in jax.tree.leaves(computed)} == {"float32", "bfloat16"}


@pytest.mark.parametrize("made", [language, boards])
def test_in_float32_nothing_is_cast(made):
    model, _ = made("float32")
    params = model.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, model.computed(params), params)
    jaxpr = jax.make_jaxpr(model.computed)(params)
    assert not jaxpr.eqns

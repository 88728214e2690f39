import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import RopeScaling, TransformerConfig
from rlsearch.networks.flops import flops_per_token
from rlsearch.networks.language_model import LanguageModel

SMALL = {"num_layers": 2, "embed_dim": 16, "num_heads": 4, "head_dim": 8, "mlp_dim": 32}


@pytest.mark.parametrize(
    "config",
    [
        TransformerConfig(**SMALL, num_kv_heads=2),
        TransformerConfig(**SMALL, num_kv_heads=1, qkv_bias=True, tie_embeddings=False),
        TransformerConfig(**SMALL, num_kv_heads=4, qk_norm=True),
        TransformerConfig(**SMALL, num_kv_heads=2, scan_layers=True),
        TransformerConfig(**SMALL, num_kv_heads=2, window=3, global_every=2, attention_cap=0.5),
        TransformerConfig(
            **SMALL, num_kv_heads=2, window=2, local_rope_theta=50.0, scan_layers=True
        ),
        TransformerConfig(
            **SMALL,
            num_kv_heads=2,
            activation="gelu",
            post_norms=True,
            logit_cap=2.0,
            query_scale=0.2,
            rope_scaling=RopeScaling(8.0, 1.0, 4.0, 16),
        ),
    ],
)
def test_cached_decoding_equals_the_full_forward_pass(config):
    model = LanguageModel(config, vocab_size=11)
    params = model.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (3, 7), 0, 11)
    full, _ = model.read(params, tokens)

    hidden, cache = model.read(params, tokens[:, :4])
    segments, parts = [cache], [hidden]
    for place in range(4, 7):  # every token becomes a segment of its own
        mask = jnp.ones((3, 1, place + 1), bool)
        position = jnp.full((3, 1), place)
        hidden, new = model.extend(params, tokens[:, place : place + 1], position, mask, segments)
        segments.append(new)
        parts.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), full, atol=1e-5)


def test_a_token_never_sees_what_comes_after_it():
    model = LanguageModel(TransformerConfig(**SMALL, num_kv_heads=2), vocab_size=11)
    params = model.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (1, 6), 0, 11)
    changed = tokens.at[0, 5].set((tokens[0, 5] + 1) % 11)
    before, _ = model.read(params, tokens)
    after, _ = model.read(params, changed)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert not np.array_equal(before[:, 5], after[:, 5])


def test_positions_are_relative():
    model = LanguageModel(TransformerConfig(**SMALL, num_kv_heads=2), vocab_size=11)
    params = model.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (1, 5), 0, 11)
    mask = jnp.tril(jnp.ones((1, 5, 5), bool))
    here, _ = model.extend(params, tokens, jnp.arange(5)[None], mask)
    there, _ = model.extend(params, tokens, 100 + jnp.arange(5)[None], mask)
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_every_parameter_names_its_axes():
    model = LanguageModel(TransformerConfig(**SMALL, num_kv_heads=2, qkv_bias=True), vocab_size=11)
    params = model.init(jax.random.key(0))
    axes = jax.tree.leaves(model.logical_axes(), is_leaf=lambda x: isinstance(x, tuple))
    leaves = jax.tree.leaves(params)
    assert len(axes) == len(leaves)
    assert all(len(names) == leaf.ndim for names, leaf in zip(axes, leaves, strict=True))
    assert model.num_params() == sum(leaf.size for leaf in leaves)


def test_flops_agree_with_the_compiler():
    config = TransformerConfig(num_layers=2, embed_dim=64, mlp_dim=128, num_heads=4, head_dim=16)
    model = LanguageModel(config, vocab_size=100)
    params = model.init(jax.random.key(0))

    def forward(params, tokens):
        hidden, _ = model.read(params, tokens)
        return model.policy_logits(params, hidden), model.value_logit(params, hidden)

    tokens = jnp.zeros((8, 32), jnp.int32)
    counted = jax.jit(forward).lower(params, tokens).compile().cost_analysis()["flops"]
    formula = tokens.size * flops_per_token(model, 32)
    assert formula == pytest.approx(counted, rel=0.1)

"""How the layers of a network are computed: one loop or many blocks, kept or computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import REMAT_POLICIES, TowerConfig
from rlsearch.networks.board_model import BoardModel
from tests.toy import wide_model

TOKENS = jnp.array([[2, 3, 1, 4], [4, 4, 1, 2]], jnp.int32)


def dots(jaxpr) -> list:
    """All matrix products of a jaxpr, at any depth."""
    found = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "dot_general"]
    for inner in _inner(jaxpr):
        found += dots(inner)
    return found


def _inner(jaxpr):
    for eqn in jaxpr.eqns:
        for leaf in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            if hasattr(leaf, "eqns"):
                yield leaf
            elif hasattr(leaf, "jaxpr"):
                yield leaf.jaxpr


def gradient_of(model):
    def loss(params):
        hidden, _ = model.read(params, TOKENS)
        logits = model.policy_logits(params, hidden)
        return jax.nn.logsumexp(logits).sum() + jnp.square(model.value_logit(params, hidden)).sum()

    return jax.grad(loss)


def test_stacked_layers_are_the_same_network():
    (model, params), (scanned, stacked) = wide_model(), wide_model(scan_layers=True)
    assert list(stacked["blocks"]) == ["attention", "attention_norm", "mlp", "mlp_norm"]
    assert stacked["blocks"]["attention"]["query"].shape == (2, 16, 4, 4)
    assert scanned.logical_axes()["blocks"]["mlp"]["up"] == ("layers", "embed", "mlp")
    one, other = jax.jit(gradient_of(model))(params), jax.jit(gradient_of(scanned))(stacked)
    one["blocks"] = jax.tree.map(lambda *x: jnp.stack(x), *one["blocks"].values())
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_program_of_stacked_layers_does_not_grow_with_depth():
    counts = []
    for num_layers in (2, 5):
        model, params = wide_model(num_layers=num_layers, scan_layers=True)
        counts.append(len(dots(jax.make_jaxpr(gradient_of(model))(params).jaxpr)))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("scan_layers", [False, True])
def test_what_is_kept_changes_the_work_and_not_the_gradient(scan_layers):
    work, gradients = {}, {}
    for remat in REMAT_POLICIES:
        model, params = wide_model(scan_layers=scan_layers, remat=remat)
        gradient = gradient_of(model)
        work[remat] = len(dots(jax.make_jaxpr(gradient)(params).jaxpr))
        if remat in ("everything_saveable", "nothing_saveable"):
            gradients[remat] = jax.jit(gradient)(params)
    counts = [work[name] for name in REMAT_POLICIES]
    assert counts[0] == counts[1] < counts[2] < counts[3]
    kept, again = map(jax.tree.leaves, gradients.values())
    for a, b in zip(kept, again, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_tower_computes_its_blocks_again_when_told_to():
    work = []
    for remat in ("everything_saveable", "nothing_saveable"):
        model = BoardModel(TowerConfig(num_blocks=2, channels=4, remat=remat), (3, 3, 2), 9)
        params = jax.eval_shape(model.init, jax.random.key(0))
        gradient = jax.grad(lambda p, x, model=model: model.heads(p, x)[0].sum())
        text = str(jax.make_jaxpr(gradient)(params, jnp.zeros((2, 3, 3, 2))))
        work.append(text.count("conv_general_dilated"))
    assert work[0] < work[1]


@pytest.mark.parametrize("scan_layers", [False, True])
def test_parameters_are_float32_and_products_bfloat16(scan_layers):
    model, params = wide_model(dtype="bfloat16", value_dim=24, scan_layers=scan_layers)
    traced = jax.make_jaxpr(gradient_of(model))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert {aval.dtype for aval in traced.out_avals} == {jnp.dtype("float32")}
    wide = [
        [var.aval.shape for var in eqn.invars]
        for eqn in dots(traced.jaxpr)
        if any(var.aval.dtype == jnp.float32 for var in eqn.invars)
    ]
    assert wide and all(24 in shapes[0] + shapes[1] for shapes in wide)  # of the value head alone
    hidden, cache = jax.eval_shape(model.read, params, TOKENS)
    assert {leaf.dtype for leaf in jax.tree.leaves((hidden, cache))} == {jnp.dtype("bfloat16")}
    logits = jax.eval_shape(model.policy_logits, params, hidden)
    value = jax.eval_shape(model.value, params, hidden)
    assert logits.dtype == value.dtype == jnp.float32

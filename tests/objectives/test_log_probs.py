import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.objectives import log_probs
from rlsearch.objectives.log_probs import token_log_probs
from tests.toy import perturbed, toy_model

ROWS, LENGTH = 3, 11


@pytest.fixture(scope="module")
def told():
    model, params = toy_model()
    hidden_key, token_key = jax.random.split(jax.random.key(0))
    hidden = jax.random.normal(hidden_key, (ROWS, LENGTH, model.config.embed_dim))
    tokens = jax.random.randint(token_key, (ROWS, LENGTH), 0, model.vocab_size)
    return model, perturbed(params), hidden, tokens


def values(model, params, hidden, tokens):
    """Log-probabilities, and the gradient of a sum in which each has another weight."""
    weights = jnp.arange(1.0, LENGTH + 1)

    def weighed(params, hidden):
        found = token_log_probs(model, params, hidden, tokens)
        return (weights * found).sum(), found

    (_, found), gradient = jax.jit(jax.value_and_grad(weighed, (0, 1), has_aux=True))(
        params, hidden
    )
    return found, gradient


@pytest.mark.parametrize("at_once", [1, 4, LENGTH])
def test_a_few_tokens_at_a_time_are_worth_what_all_are(told, monkeypatch, at_once):
    model, params, hidden, tokens = told
    logits = model.policy_logits(params, hidden)
    plain = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], 2)[..., 0]
    whole = values(*told)
    monkeypatch.setattr(log_probs, "MOST_LOGITS", at_once * model.vocab_size)
    parts = values(*told)
    np.testing.assert_allclose(whole[0], plain, atol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), parts, whole)


def test_all_logits_are_never_there_at_once(told, monkeypatch):
    model, params, hidden, tokens = told
    monkeypatch.setattr(log_probs, "MOST_LOGITS", model.vocab_size)

    def loss(params, hidden):
        return token_log_probs(model, params, hidden, tokens).sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(params, hidden))
    assert f"{ROWS},1,{model.vocab_size}]" in text
    assert f"{ROWS},{LENGTH},{model.vocab_size}]" not in text

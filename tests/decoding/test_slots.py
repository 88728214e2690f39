import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import TransformerConfig
from rlsearch.decoding.sampling import GREEDY, Sampling
from rlsearch.decoding.slots import Requests, advance, empty_slots, read_prompts
from rlsearch.networks.language_model import LanguageModel

V, P, T = 23, 6, 12
SHAPE = TransformerConfig(
    num_layers=3, embed_dim=24, num_heads=4, num_kv_heads=2, head_dim=6, mlp_dim=40, value_dim=8
)
LOCAL = dataclasses.replace(SHAPE, window=4, global_every=2)
LENGTHS = (6, 1, 4, 5)  # of the prompts


def made(shape=SHAPE, scale=0.3):
    model = LanguageModel(shape, V)
    leaves, structure = jax.tree.flatten(model.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [x + scale * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return model, jax.tree.unflatten(structure, noise)


def padded():
    random = np.random.default_rng(0)
    real = np.arange(P) >= P - np.array(LENGTHS)[:, None]
    return np.where(real, random.integers(1, V, real.shape), 0).astype(np.int32), real


def requests(number=9, ends=(), limit=None, keys=None):
    """As many as wanted, each for one of the prompts in turn."""
    return Requests(
        jnp.arange(number) % len(LENGTHS),
        jax.random.split(jax.random.key(7), number) if keys is None else keys,
        jnp.full((number,), T) if limit is None else jnp.asarray(limit),
        jnp.asarray(np.isin(np.arange(V), ends)),
    )


def write(model, params, wanted, slots, sampling=Sampling(), parts=1):
    prompts = read_prompts(model, params, *padded())
    state = empty_slots(prompts, wanted, slots, T)
    for _ in range(parts - 1):
        state = advance(model, params, state, prompts, wanted, sampling, 3)
    return advance(model, params, state, prompts, wanted, sampling)


def cut(texts):
    """Each text without what lies behind it."""
    tokens, lengths = np.asarray(texts.tokens), np.asarray(texts.lengths)
    return [row[:length].tolist() for row, length in zip(tokens, lengths, strict=True)]


def read_whole(model, params, tokens):
    hidden, _ = model.read(params, jnp.array([tokens]))
    return np.asarray(jax.nn.log_softmax(model.policy_logits(params, hidden))[0])


@pytest.mark.parametrize("shape", [SHAPE, LOCAL], ids=["global", "local"])
def test_texts_are_those_of_the_plain_model(shape):
    """Greedy texts of four prompts in three slots, beside a forward pass over the whole text."""
    model, params = made(shape)
    texts = write(model, params, requests(4), 3, GREEDY).texts
    tokens, real = padded()
    for row, written in enumerate(cut(texts)):
        assert len(written) == T
        text = tokens[row][real[row]].tolist()
        log_probs = read_whole(model, params, text + written)[len(text) - 1 : -1]
        assert written == log_probs.argmax(axis=1).tolist()
        own = log_probs[np.arange(T), written]
        np.testing.assert_allclose(texts.log_probs[row], own, atol=1e-5)
    assert len({tuple(x) for x in cut(texts)}) == 4


def test_a_text_depends_on_its_own_key_alone():
    model, params = made()
    ends = tuple(range(0, V, 3))
    wanted = requests(9, ends)
    several = write(model, params, wanted, 4)
    texts = cut(several.texts)
    lengths = {len(text) for text in texts}
    assert len(lengths) > 2 and min(lengths) < T
    for text in texts:
        assert all(token not in ends for token in text[:-1])
        assert text[-1] in ends or len(text) == T
    for slots in (1, 9, 16):
        assert cut(write(model, params, wanted, slots).texts) == texts
    assert cut(write(model, params, wanted, 4, parts=4).texts) == texts
    other = jax.random.split(jax.random.key(8), 9).at[2].set(wanted.keys[2])
    changed = cut(write(model, params, requests(9, ends, keys=other), 4).texts)
    assert changed[2] == texts[2] and changed != texts


def test_a_slot_is_refilled_as_soon_as_it_is_free():
    """Of nine texts of 1 to 9 tokens, the third slot writes those of 3, 6 and 9."""
    model, params = made()
    limits = np.arange(9) + 1
    state = write(model, params, requests(9, limit=limits), 3)
    assert state.texts.lengths.tolist() == limits.tolist()
    assert int(state.turn) == 3 + 6 + 9
    assert int(state.taken) == 9 and (np.asarray(state.request) == 9).all()


def test_a_text_longer_than_there_is_room_for_ends():
    model, params = made()
    state = write(model, params, requests(3, limit=[99, 2, T + 1]), 2)
    assert state.texts.lengths.tolist() == [T, 2, T]


def test_what_is_unlikely_is_left_out_of_texts():
    model, params = made()
    wanted = requests(64, keys=jax.random.split(jax.random.key(0), 64))
    first = np.asarray(write(model, params, wanted, 16, Sampling(top_k=2)).texts.tokens)[:, 0]
    tokens, real = padded()
    for row in range(4):
        log_probs = read_whole(model, params, tokens[row][real[row]].tolist())[-1]
        assert set(first[row::4]) <= set(np.argsort(log_probs)[-2:])

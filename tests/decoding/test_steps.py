import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.steps import (
    Siblings,
    append_token,
    draw_step,
    finished,
    next_token_log_probs,
    sample_solutions,
    split_steps,
    start,
)
from rlsearch.parallel.mesh import row_keys
from tests.toy import (
    LETTERS,
    NEWLINE,
    NUM_STEPS,
    PAD,
    C,
    ending_form,
    solution,
    toy_form,
    toy_model,
)

PROMPTS = jnp.array([[2, 3, 1], [4, 4, 1]], jnp.int32)


MODEL, PARAMS = toy_model()


def on_toys(function, form=None):
    """A function of the decoder, of the toy model and form, compiled: eagerly it is very slow."""
    form = toy_form() if form is None else form
    return jax.jit(lambda *arguments: function(MODEL, PARAMS, *arguments, form))


def exact_log_prob(model, params, prompt, word) -> float:
    """Log-probability of a word under policy and grammar, from one full forward pass."""
    form = toy_form()
    tokens = jnp.array([*prompt, *solution(word)], jnp.int32)[None]
    hidden, _ = model.read(params, tokens)
    logits = model.policy_logits(params, hidden)[0, len(prompt) - 1 : -1]
    logits = jnp.where(jnp.asarray(form.grammar), logits, -1e9)
    log_probs = jax.nn.log_softmax(logits)
    return float(log_probs[jnp.arange(form.max_length), tokens[0, len(prompt) :]].sum())


def test_log_probabilities_equal_the_full_forward_pass():
    model, params = toy_model()
    prefix, log_probs = on_toys(sample_solutions)(PROMPTS, row_keys(jax.random.key(3), 2))
    for row in range(2):
        word = [int(token) for token in prefix.tokens[row] if token != NEWLINE]
        expected = exact_log_prob(model, params, PROMPTS[row].tolist(), word)
        np.testing.assert_allclose(log_probs[row], expected, atol=1e-5)
    assert finished(prefix, toy_form()).all()


def test_tokens_one_at_a_time_and_whole_steps_reach_the_same_state():
    model, params = toy_model()
    form = toy_form()
    cache, prefix = start(model, params, PROMPTS, form)
    by_step, _ = on_toys(draw_step)(cache, prefix, row_keys(jax.random.key(0), 2))
    by_token, append = prefix, on_toys(append_token)
    for place in range(2):
        by_token = append(cache, by_token, by_step.tokens[:, place])
    np.testing.assert_array_equal(by_step.tokens, by_token.tokens)
    np.testing.assert_array_equal(by_step.num_steps, by_token.num_steps)
    np.testing.assert_allclose(
        next_token_log_probs(model, params, by_step, form),
        next_token_log_probs(model, params, by_token, form),
        atol=1e-5,
    )


def test_samples_follow_the_policy():
    model, params = toy_model()
    rows = 4096
    prompts = jnp.broadcast_to(PROMPTS[0], (rows, 3))
    prefix, _ = jax.jit(lambda keys: sample_solutions(model, params, prompts, keys, toy_form()))(
        row_keys(jax.random.key(1), rows)
    )
    letters = np.asarray(prefix.tokens[:, ::2])
    for word in itertools.product(LETTERS, repeat=NUM_STEPS):
        expected = np.exp(exact_log_prob(model, params, PROMPTS[0].tolist(), word))
        found = (letters == word).all(axis=1).mean()
        assert abs(found - expected) < 5 * np.sqrt(expected / rows)


def test_steps_are_drawn_without_replacement_until_none_is_left():
    model, params = toy_model()
    form, rows = toy_form(), 512
    prompts = jnp.broadcast_to(PROMPTS[0], (rows, 3))
    cache, prefix = start(model, params, prompts, form)
    steps = []
    for number in range(4):
        siblings = None
        if steps:
            siblings = Siblings(
                tokens=jnp.stack([step.tokens for step in steps], axis=1),
                draw_log_probs=jnp.stack([step.draw_log_probs for step in steps], axis=1),
                present=jnp.ones((rows, len(steps)), bool),
            )
        keys = row_keys(jax.random.key(number), rows)
        _, step = draw_step(model, params, cache, prefix, keys, form, 1.0, siblings)
        steps.append(step)
    letters = np.stack([step.tokens[:, 0] for step in steps], axis=1)
    assert all(len(set(row[:3])) == 3 for row in letters)  # there are three letters
    assert not np.stack([step.duplicate for step in steps[:3]]).any()
    assert steps[3].duplicate.all()
    # The second draw has the policy's distribution, given that it is not the first.
    probs = np.exp(np.asarray(next_token_log_probs(model, params, prefix, form)[0]))
    first_a = letters[:, 0] == LETTERS[0]
    expected = probs[LETTERS[1]] / (1 - probs[LETTERS[0]])
    found = (letters[first_a, 1] == LETTERS[1]).mean()
    assert abs(found - expected) < 5 * np.sqrt(0.25 / first_a.sum())


def test_finished_solutions_stay_as_they_are():
    model, params = toy_model()
    form = toy_form()
    cache, prefix = start(model, params, PROMPTS, form)
    draw = on_toys(draw_step)
    for number in range(NUM_STEPS):
        prefix, _ = draw(cache, prefix, row_keys(jax.random.key(number), 2))
    after, step = draw(cache, prefix, row_keys(jax.random.key(9), 2))
    for old, new in zip(jax.tree.leaves(prefix), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (step.tokens == PAD).all() and (step.length == 0).all()


def test_solutions_are_cut_behind_each_end_of_a_step():
    form = toy_form()
    tokens = jnp.array([[2, 1, 3, 1, 4, 1], [2, 1, 3, 0, 0, 0]], jnp.int32)
    cut = split_steps(tokens, form)
    np.testing.assert_array_equal(cut[0], [[2, 1], [3, 1], [4, 1]])
    np.testing.assert_array_equal(cut[1], [[2, 1], [3, 0], [0, 0]])


def test_a_solution_may_end_early_by_its_own_tokens():
    model, params = toy_model()
    form, prompts = ending_form(), jnp.tile(PROMPTS, (64, 1))
    keys = row_keys(jax.random.key(0), 128)
    prefix, _ = jax.jit(lambda params: sample_solutions(model, params, prompts, keys, form))(params)
    tokens, length = np.asarray(prefix.tokens), np.asarray(prefix.length)
    assert finished(prefix, form).all() and set(length.tolist()) == {1, 3, 5}
    np.testing.assert_array_equal(prefix.num_steps, (length + 1) // 2)
    for row in range(128):
        assert tokens[row, length[row] - 1] == C and (tokens[row, length[row] :] == PAD).all()
        assert (tokens[row, 1 : length[row] - 1 : 2] == NEWLINE).all()
    steps = np.asarray(split_steps(prefix.tokens, form))
    np.testing.assert_array_equal(steps.reshape(128, -1), tokens)  # padding is at the end alone
    # Token by token it ends in the same place, and stays there.
    cache, by_token = start(model, params, prompts, form)
    append = on_toys(append_token, form)
    for place in range(form.max_length):
        by_token = append(cache, by_token, prefix.tokens[:, place])
    np.testing.assert_array_equal(by_token.tokens, tokens)
    np.testing.assert_array_equal(by_token.num_steps, prefix.num_steps)
    assert finished(by_token, form).all()

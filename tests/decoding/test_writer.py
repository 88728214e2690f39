import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.decoding.draft import Siblings
from rlsearch.decoding.split import split_steps
from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import row_keys
from tests.toy import (
    LETTERS,
    NEWLINE,
    NUM_STEPS,
    PAD,
    C,
    ending_policy,
    solution,
    toy_format,
    toy_model,
    toy_policy,
)

PROMPTS = jnp.array([[2, 3, 1], [4, 4, 1]], jnp.int32)
MODEL, PARAMS = toy_model()
FRESH = Writer(toy_policy(), PARAMS)
# Compiled: eagerly they are very slow.
start = jax.jit(lambda writer, prompts: writer.start(prompts))
sample = jax.jit(lambda writer, prompts, keys: writer.sample(prompts, keys))
step = jax.jit(lambda writer, draft, keys: writer.step(draft, keys))
append_token = jax.jit(lambda writer, draft, token: writer.append_token(draft, token))


def exact_log_prob(prompt, word) -> float:
    """Log-probability of a word under policy and grammar, from one full forward pass."""
    format = toy_format()
    tokens = jnp.array([*prompt, *solution(word)], jnp.int32)[None]
    hidden, _ = MODEL.read(PARAMS, tokens)
    logits = MODEL.policy_logits(PARAMS, hidden)[0, len(prompt) - 1 : -1]
    logits = jnp.where(jnp.asarray(format.grammar), logits, -1e9)
    log_probs = jax.nn.log_softmax(logits)
    return float(log_probs[jnp.arange(format.max_length), tokens[0, len(prompt) :]].sum())


def test_log_probabilities_equal_the_full_forward_pass():
    draft, log_probs = sample(FRESH, PROMPTS, row_keys(jax.random.key(3), 2))
    for row in range(2):
        word = [int(token) for token in draft.line.tokens[row] if token != NEWLINE]
        expected = exact_log_prob(PROMPTS[row].tolist(), word)
        np.testing.assert_allclose(log_probs[row], expected, atol=1e-5)
    assert FRESH.finished(draft).all()


def test_tokens_one_at_a_time_and_whole_steps_reach_the_same_state():
    draft = start(FRESH, PROMPTS)
    by_step, _ = step(FRESH, draft, row_keys(jax.random.key(0), 2))
    by_token = draft
    for place in range(2):
        by_token = append_token(FRESH, by_token, by_step.line.tokens[:, place])
    np.testing.assert_array_equal(by_step.line.tokens, by_token.line.tokens)
    np.testing.assert_array_equal(by_step.line.num_steps, by_token.line.num_steps)
    np.testing.assert_allclose(
        FRESH.next_token_log_probs(by_step), FRESH.next_token_log_probs(by_token), atol=1e-5
    )


def test_a_network_that_follows_reads_what_another_wrote():
    """Of half-written solutions it makes what it makes of them when it writes them itself."""
    other = Writer(toy_policy(), jax.tree.map(lambda x: x + 0.1, PARAMS))
    written = start(FRESH, PROMPTS)
    following, own = start(other, PROMPTS), start(other, PROMPTS)
    follow = jax.jit(lambda writer, draft, line: writer.follow(draft, line))
    for number in range(NUM_STEPS + 1):  # behind the last step there is nothing to read
        written, drawn = step(FRESH, written, row_keys(jax.random.key(number), 2))
        following = follow(other, following, written.line)
        for place in range(drawn.tokens.shape[1]):
            own = append_token(other, own, drawn.tokens[:, place])
        np.testing.assert_array_equal(following.line.tokens, written.line.tokens)
        np.testing.assert_array_equal(following.line.length, own.line.length)
        np.testing.assert_allclose(following.line.hidden, own.line.hidden, atol=1e-5)
    assert np.abs(following.line.hidden - written.line.hidden).max() > 0.01


def test_samples_follow_the_policy():
    rows = 4096
    prompts = jnp.broadcast_to(PROMPTS[0], (rows, 3))
    draft, _ = sample(FRESH, prompts, row_keys(jax.random.key(1), rows))
    letters = np.asarray(draft.line.tokens[:, ::2])
    for word in itertools.product(LETTERS, repeat=NUM_STEPS):
        expected = np.exp(exact_log_prob(PROMPTS[0].tolist(), word))
        found = (letters == word).all(axis=1).mean()
        assert abs(found - expected) < 5 * np.sqrt(expected / rows)


def test_steps_are_drawn_without_replacement_until_none_is_left():
    rows = 512
    draft = start(FRESH, jnp.broadcast_to(PROMPTS[0], (rows, 3)))
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
        _, drawn = FRESH.step(draft, keys, siblings=siblings)
        steps.append(drawn)
    letters = np.stack([step.tokens[:, 0] for step in steps], axis=1)
    assert all(len(set(row[:3])) == 3 for row in letters)  # there are three letters
    assert not np.stack([step.duplicate for step in steps[:3]]).any()
    assert steps[3].duplicate.all()
    # The second draw has the policy's distribution, given that it is not the first.
    probs = np.exp(np.asarray(FRESH.next_token_log_probs(draft)[0]))
    first_a = letters[:, 0] == LETTERS[0]
    expected = probs[LETTERS[1]] / (1 - probs[LETTERS[0]])
    found = (letters[first_a, 1] == LETTERS[1]).mean()
    assert abs(found - expected) < 5 * np.sqrt(0.25 / first_a.sum())


def test_finished_solutions_stay_as_they_are():
    draft = start(FRESH, PROMPTS)
    for number in range(NUM_STEPS):
        draft, _ = step(FRESH, draft, row_keys(jax.random.key(number), 2))
    after, drawn = step(FRESH, draft, row_keys(jax.random.key(9), 2))
    token_after, token = FRESH.token(draft, row_keys(jax.random.key(9), 2))
    for old, *new in zip(*map(jax.tree.leaves, (draft, after, token_after)), strict=True):
        np.testing.assert_array_equal(old, new[0])
        np.testing.assert_array_equal(old, new[1])
    assert (drawn.tokens == PAD).all() and (drawn.length == 0).all() and (token == PAD).all()


@pytest.mark.parametrize("writing", ["write", "complete"])
def test_a_solution_may_end_early_by_its_own_tokens(writing):
    ending, prompts = Writer(ending_policy(), PARAMS), jnp.tile(PROMPTS, (64, 1))

    @jax.jit
    def written(writer, keys):
        draft = writer.start(prompts)
        return (
            writer.complete(draft, keys) if writing == "complete" else writer.write(draft, keys)[0]
        )

    draft = written(ending, row_keys(jax.random.key(0), 128))
    tokens, length = np.asarray(draft.line.tokens), np.asarray(draft.line.length)
    assert ending.finished(draft).all() and set(length.tolist()) == {1, 3, 5}
    np.testing.assert_array_equal(draft.line.num_steps, (length + 1) // 2)
    for row in range(128):
        assert tokens[row, length[row] - 1] == C and (tokens[row, length[row] :] == PAD).all()
        assert (tokens[row, 1 : length[row] - 1 : 2] == NEWLINE).all()
    steps = np.asarray(split_steps(draft.line.tokens, ending.format))
    np.testing.assert_array_equal(steps.reshape(128, -1), tokens)  # padding is at the end alone
    # Token by token it ends in the same place, and stays there.
    by_token = start(ending, prompts)
    for place in range(ending.format.max_length):
        by_token = append_token(ending, by_token, draft.line.tokens[:, place])
    np.testing.assert_array_equal(by_token.line.tokens, tokens)
    np.testing.assert_array_equal(by_token.line.num_steps, draft.line.num_steps)
    assert ending.finished(by_token).all()

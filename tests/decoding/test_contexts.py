import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.contexts import ATTEMPTS, no_attempts, remember, with_attempts
from rlsearch.parallel.mesh import row_keys
from tests.toy import PAD, A, B, C, ending_format, ending_writer

WRITER, FORMAT = ending_writer(), ending_format()
PROMPTS = jnp.array([[2, 3, 1], [4, 4, 1], [3, 2, 1]], jnp.int32)
KEYS = row_keys(jax.random.key(3), len(PROMPTS))


def attempt(*tokens):
    return jnp.array([[*tokens, *[PAD] * (FORMAT.max_length - len(tokens))]] * 3, jnp.int32)


def test_a_context_is_the_latest_attempts_and_the_prompt_behind_padding():
    attempts, kept = no_attempts(3, FORMAT.max_length, PAD), jnp.array([True, True, False])
    for number in range(ATTEMPTS + 2):
        attempts = remember(attempts, attempt(A, 1, *[B] * (number % 2), C), kept)
    context = with_attempts(PROMPTS, attempts, PAD)
    expected = []  # the two oldest are forgotten
    for number in range(2, ATTEMPTS + 2):
        expected += [A, 1, *[B] * (number % 2), C]
    size = context.tokens.shape[1]
    assert size == 3 + ATTEMPTS * FORMAT.max_length
    for row, written in enumerate((expected, expected, [])):
        whole = [*written, *PROMPTS[row].tolist()]
        padded = [PAD] * (size - len(whole)) + whole
        assert context.tokens[row].tolist() == padded
        assert context.real[row].tolist() == [False] * (size - len(whole)) + [True] * len(whole)


def test_a_prompt_that_holds_the_padding_token_is_left_as_it_is():
    prompts = PROMPTS.at[0, 1].set(PAD)
    context = with_attempts(prompts, no_attempts(3, FORMAT.max_length, PAD), PAD)
    np.testing.assert_array_equal(context.tokens[:, -3:], prompts)
    assert context.real[:, -3:].all() and not context.real[:, :-3].any()


@jax.jit
def solve(writer, prompts, context, keys):
    return writer.write(writer.start(prompts, context), keys)


def test_padding_changes_nothing():
    """Neither in front of a prompt alone, nor of attempts: what is written is what is written
    behind the same tokens without it."""
    alone = jax.jit(lambda writer, prompts: writer.sample(prompts, KEYS))
    attempts = no_attempts(3, FORMAT.max_length, PAD)
    for _ in range(2):
        context = with_attempts(PROMPTS, attempts, PAD)
        padded, log_probs = solve(WRITER, PROMPTS, context, KEYS)
        bare = context.tokens[:, -int(context.real[0].sum()) :]
        assert (bare != PAD).all() and not context.real.all()
        expected, expected_log_probs = alone(WRITER, bare)
        np.testing.assert_array_equal(padded.line.tokens, expected.line.tokens)
        np.testing.assert_allclose(log_probs, expected_log_probs, atol=1e-5)
        np.testing.assert_allclose(padded.line.hidden, expected.line.hidden, atol=1e-4)
        attempts = remember(attempts, attempt(A, 1, C), jnp.ones(3, bool))

"""The data of revisions against plain Python, and the loss against the decoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.decoding.contexts import ATTEMPTS
from rlsearch.objectives.edit_distance import edit_distance
from rlsearch.objectives.revision_targets import draw_rows, revision_targets
from rlsearch.objectives.step_targets import per_weight, step_losses
from rlsearch.parallel.mesh import row_keys
from tests.toy import PAD, ToyTask, toy_model, toy_writer

LENGTH = 6


def padded(words) -> np.ndarray:
    return np.array([[*word, *[PAD] * (LENGTH - len(word))] for word in words], np.int32)


def levenshtein(one, other) -> int:
    """By its definition."""

    @functools.cache
    def rest(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        changed = rest(i + 1, j + 1) + (one[i] != other[j])
        return min(changed, rest(i + 1, j) + 1, rest(i, j + 1) + 1)

    return rest(0, 0)


def random_words(number, seed=0) -> list[tuple[int, ...]]:
    random = np.random.default_rng(seed)
    lengths = random.integers(0, LENGTH + 1, number)
    return [tuple(random.integers(1, 4, length).tolist()) for length in lengths]


def test_the_edit_distance_is_that_of_its_definition():
    ones, others = random_words(60), random_words(60, seed=1)
    found = jax.vmap(edit_distance, (0, 0, None))(padded(ones), padded(others), PAD)
    assert found.tolist() == [levenshtein(*pair) for pair in zip(ones, others, strict=True)]


WORDS = random_words(9, seed=2)
RIGHT = np.array([True, False, False, True, False, False, False, True, False])
VALID = np.array([True, True, True, True, False, True, True, False, True])
DRAWS = 400


@functools.cache
def draws(right=tuple(RIGHT), valid=tuple(VALID)):
    keys = jax.random.split(jax.random.key(0), DRAWS)
    draw = jax.jit(jax.vmap(draw_rows, (0, None, None, None, None)), static_argnums=4)
    found = draw(keys, padded(WORDS), jnp.array(right), jnp.array(valid), PAD)
    return jax.tree.map(np.asarray, found)


def test_right_answers_stand_behind_wrong_ones_the_nearest_last():
    rows = draws()
    right, wrong = np.flatnonzero(RIGHT & VALID), np.flatnonzero(VALID & ~RIGHT)
    np.testing.assert_array_equal(rows.revised, np.tile(RIGHT & VALID, (DRAWS, 1)))
    np.testing.assert_array_equal(rows.there, np.sort(rows.there, axis=2))  # the last k
    for row in right:
        assert (rows.answer[:, row] == row).all()
        near = min(wrong, key=lambda other: (levenshtein(WORDS[row], WORDS[other]), other))
        seen = set()
        for attempts, there in zip(rows.attempts[:, row], rows.there[:, row], strict=True):
            context = attempts[there].tolist()
            assert set(context) <= set(wrong) and len(set(context)) == len(context)
            assert context[-1:] == [near][: len(context)]
            seen |= set(context[:-1])
        assert seen == set(wrong) - {near}  # the others are any


def test_how_many_stand_there_is_uniform_up_to_four_or_all_the_wrong_ones():
    for number in (5, 2, 0):  # wrong ones
        valid = RIGHT | (np.cumsum(~RIGHT) <= number)
        rows = draws(valid=tuple(valid))
        counts = rows.there[:, RIGHT & valid].sum(axis=2).reshape(-1)
        most = min(number, ATTEMPTS)
        shares = np.bincount(counts, minlength=most + 1) / counts.size
        assert len(shares) == most + 1
        np.testing.assert_allclose(shares, 1 / (most + 1), atol=0.04)


def test_the_other_rows_judge_any_answer_behind_any_attempts():
    rows = draws()
    valid, judged = np.flatnonzero(VALID), ~(RIGHT & VALID)
    np.testing.assert_array_equal(rows.judged, np.tile(judged, (DRAWS, 1)))
    answers = rows.answer[:, judged].reshape(-1)
    shares = np.bincount(answers, minlength=len(WORDS)) / answers.size
    np.testing.assert_allclose(shares[valid], 1 / len(valid), atol=0.03)
    assert set(answers) == set(valid)
    context = rows.attempts[:, judged].reshape(-1, ATTEMPTS)
    there = rows.there[:, judged].reshape(-1, ATTEMPTS)
    assert set(context[there]) == set(valid)
    for answer, attempts, here in zip(answers, context, there, strict=True):
        assert answer not in attempts[here] and len(set(attempts[here])) == here.sum()
    nothing = draws(valid=(False,) * len(WORDS))
    assert not nothing.judged.any() and not nothing.revised.any() and not nothing.there.any()


def test_only_the_right_answers_are_learnt_and_each_behind_its_context():
    model, writer = toy_model()[0], toy_writer()
    params = writer.params
    make = jax.jit(lambda writer, keys: revision_targets(ToyTask(), writer, keys, 8))
    rows, metrics = jax.tree.map(np.asarray, make(writer, row_keys(jax.random.key(1), 16)))
    size = 3 + ATTEMPTS * LENGTH
    assert rows.prompts.shape == (16 * 8, size)
    words = rows.steps.reshape(-1, LENGTH)  # all steps of this language have two tokens

    def is_right(prompt, tokens) -> bool:
        return bool(tokens[0] == prompt[0] and tokens[4] == prompt[1])

    learnt, texts, ends, behind = [], [], [], 0
    for number, word in enumerate(words):
        given = rows.prompts[number][rows.real[number]]
        attempts, prompt = given[:-3].reshape(-1, LENGTH), given[-3:]
        weights, judged = rows.weights[number], rows.value_weights[number]
        assert (rows.values[number] == is_right(prompt, word)).all()
        assert weights.any() != judged.any()
        if weights.any():
            assert is_right(prompt, word) and (weights == 1).all()
            assert not any(is_right(prompt, attempt) for attempt in attempts)
            learnt.append(number)
            behind += len(attempts)
        else:
            np.testing.assert_allclose(judged[:, 0], [0.3, 0.3, 1.0])
        texts.append(np.pad([*given, *word], (0, size - len(given))))
        ends.append(len(given))
    assert 0 < len(learnt) < len(words) and behind > 0

    # The same without any padding in front, as one text read from its first token on.
    tokens = jnp.array(texts)
    read = jax.jit(lambda tokens: model.policy_logits(params, model.read(params, tokens)[0]))
    places = np.array(ends)[:, None] + np.arange(LENGTH) - 1
    log_probs = np.asarray(jax.nn.log_softmax(read(tokens)))
    picked = log_probs[np.arange(len(words))[:, None], places, words]
    expected = -picked[learnt].sum() / (3 * len(learnt))
    _, losses = jax.jit(lambda rows: step_losses(model, params, per_weight(rows), PAD))(rows)
    np.testing.assert_allclose(losses["policy_loss"], expected, rtol=1e-4)
    assert 0 < metrics["sample_accuracy"].mean() < 1 and metrics["attempts"].mean() > 0.5

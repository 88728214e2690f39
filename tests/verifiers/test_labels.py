"""Labels: Monte-Carlo says what the policy makes of a prefix; bisection finds first errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.parallel.mesh import row_keys
from rlsearch.verifiers.bisection import (
    ALPHA,
    BETA,
    EXPLORATION,
    LENGTH,
    Pool,
    bisect,
    bisection_labels,
    priorities,
)
from rlsearch.verifiers.monte_carlo import (
    first_steps,
    hard_labels,
    read_solutions,
    soft_labels,
)
from tests.toy import PAD, A, ToyTask, ending_writer, toy_format, toy_model, toy_writer

MODEL, TASK, ROLLOUTS = toy_model()[0], ToyTask(), 64
PROMPTS = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (4, 1))
KEYS = row_keys(jax.random.key(0), len(PROMPTS))
WRITER, ENDING = toy_writer(), ending_writer()


@functools.cache
def written(policy):
    writer = ENDING if policy is ENDING.policy else WRITER
    return jax.jit(lambda writer: writer.sample(PROMPTS, KEYS)[0].line.tokens)(writer)


@functools.cache
def labels(first=None, last=None):
    rows = slice(first, last)
    make = jax.jit(lambda *x: soft_labels(TASK, *x, ROLLOUTS))
    made = make(WRITER, PROMPTS[rows], written(WRITER.policy)[rows], KEYS[rows])
    return jax.tree.map(np.asarray, made)


@pytest.mark.parametrize(("writer", "steps"), [(WRITER, 0), (WRITER, 2), (ENDING, 1)])
def test_a_solution_can_be_gone_on_from_at_any_step(writer, steps):
    """The first steps of a whole solution are the draft that it was written from."""

    @jax.jit
    def both(writer):
        draft = writer.start(PROMPTS)
        for number in range(steps):
            keys = jax.vmap(jax.random.fold_in, (0, None))(KEYS, number)
            draft, _ = writer.step(draft, keys)
        whole = writer.complete(draft, KEYS)
        read = read_solutions(writer, PROMPTS, whole.line.tokens)
        cut = first_steps(read, jnp.full(len(PROMPTS), steps), writer.format)
        return draft.line, cut.line, whole.line, writer.complete(cut, KEYS).line

    line, cut, whole, again = jax.tree.map(np.asarray, both(writer))
    for name in ("tokens", "num_steps", "length"):
        np.testing.assert_array_equal(getattr(line, name), getattr(cut, name))
    np.testing.assert_allclose(line.hidden, cut.hidden, atol=1e-5)
    np.testing.assert_array_equal(whole.tokens, again.tokens)


def test_soft_labels_are_what_the_policy_makes_of_a_prefix():
    found, solutions = labels(), np.asarray(written(WRITER.policy))
    np.testing.assert_array_equal(found.solutions, solutions)
    right = np.asarray(ToyTask().check_tokens(PROMPTS, written(WRITER.policy)))
    np.testing.assert_array_equal(found.values[:, 2], right)  # the whole speaks for itself
    first = solutions[:, 0] == np.asarray(PROMPTS[:, 0])
    assert first.any() and not first.all()
    assert (found.values[~first] == 0).all()  # nothing saves a wrong first letter
    assert (found.values[first][:, :2] > 0).mean() > 0.9
    # Of the middle step one letter is as good as another: by chance a third ends on the right one.
    read = np.concatenate([np.asarray(PROMPTS), solutions[:, :4]], axis=1)
    params = WRITER.params
    logits = MODEL.policy_logits(params, MODEL.read(params, jnp.array(read))[0][:, -1])
    chance = jax.nn.softmax(jnp.where(jnp.array(toy_format().grammar[4]), logits, -1e9))
    exact = np.asarray(chance)[np.arange(len(read)), np.asarray(PROMPTS[:, 1])] * first
    assert np.abs(found.values[:, 1] - exact).max() < 0.25  # four standard errors
    assert (found.generations == 1 + 2 * ROLLOUTS).all() and (found.weights == 1).all()


def test_hard_labels_say_whether_any_completion_is_right():
    soft = labels()
    hard = hard_labels(soft)
    np.testing.assert_array_equal(np.asarray(hard.values), (soft.values > 0).astype(np.float32))
    assert ((soft.values > 0) & (soft.values < 1)).any()
    np.testing.assert_array_equal(hard.generations, soft.generations)


def test_a_solutions_labels_do_not_depend_on_its_batch():
    whole, part = labels(), labels(5, 9)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[5:9], other)


def test_a_solution_that_ends_early_costs_no_more_than_it_has_steps():
    make = jax.jit(lambda *x: soft_labels(TASK, *x, 4))
    found = jax.tree.map(np.asarray, make(ENDING, PROMPTS, written(ENDING.policy), KEYS))
    steps = np.asarray(ENDING.format.ends_step(written(ENDING.policy)).sum(axis=1))
    assert len(np.unique(steps)) > 1
    np.testing.assert_array_equal(found.weights.sum(axis=1), steps)
    np.testing.assert_array_equal(found.generations, 1 + 4 * (steps - 1))


@pytest.mark.parametrize("steps", [2, 3, 7, 12, 13])
def test_bisection_finds_the_first_error_where_values_are_monotone(steps):
    errors = jnp.arange(1, steps + 1)  # the policy can still save what is before, and nothing after
    asked_of = []

    def value_at(turn, middle, asked):
        asked_of.append(np.asarray(asked))
        return jnp.where(middle < errors, 0.5, 0.0)

    turns = (steps - 1).bit_length()
    good, bad = jnp.zeros(steps, jnp.int32), jnp.full(steps, steps)
    found, middles, values = bisect(good, bad, value_at, turns)
    np.testing.assert_array_equal(found, errors)
    assert (np.asarray(middles)[~np.array(asked_of)] == 0).all()
    seen = np.asarray(middles) > 0
    assert seen.sum(axis=0).max() == turns  # O(log S)
    np.testing.assert_array_equal(
        np.asarray(values)[seen] > 0, (np.asarray(middles) < np.asarray(errors))[seen]
    )


def test_the_next_rollout_is_chosen_by_omegaprms_formula():
    random = np.random.default_rng(0)
    tokens = np.where(np.arange(6) < random.integers(3, 7, (2, 3, 2, 1)), A, PAD)
    pool = Pool(
        num_steps=jnp.zeros((2, 3), jnp.int32),
        lengths=jnp.array([[0, 2, 2], [0, 0, 2]]),
        values=jnp.array([[0.25, 0.5, 0.0], [1.0, 0.75, 0.5]]),
        visits=jnp.array([[3, 0, 1], [0, 2, 0]]),
        tokens=jnp.array(tokens, jnp.int32),
        waiting=jnp.array(random.integers(0, 2, (2, 3, 2)), bool),
    )
    found = np.asarray(priorities(pool, PAD))
    for b, m, k in np.ndindex(found.shape):
        value, length = float(pool.values[b, m]), int((tokens[b, m, k] != PAD).sum())
        length -= int(pool.lengths[b, m])
        expected = ALPHA ** (1 - value) * BETA ** (length / LENGTH)
        visits = np.asarray(pool.visits[b])
        expected += EXPLORATION * np.sqrt(visits.sum()) / (1 + visits[m])
        if not pool.waiting[b, m, k] or value in (0.0, 1.0):
            expected = -1.0
        np.testing.assert_allclose(found[b, m, k], expected, rtol=1e-6)
    assert (ALPHA, BETA, LENGTH, EXPLORATION) == (0.5, 0.9, 500.0, 0.125)
    assert (found >= 0).any() and (found < 0).any()


@pytest.fixture(scope="module")
def searched():
    make = jax.jit(lambda *x: bisection_labels(TASK, *x, num_rollouts=6, num_searches=3))
    found = jax.tree.map(np.asarray, make(WRITER, PROMPTS, KEYS))
    return jax.tree.map(lambda x: x.reshape(len(PROMPTS), 9, *x.shape[1:]), found)


def test_rows_of_a_bisection(searched):
    right = np.asarray(
        ToyTask().check_tokens(
            jnp.repeat(PROMPTS, 9, axis=0), jnp.array(searched.solutions.reshape(-1, 6))
        )
    ).reshape(-1, 9)
    root, searches = slice(0, 6), slice(6, 9)
    # The problem's own rollouts: one label each, of the whole, by the checker.
    np.testing.assert_array_equal(
        searched.weights[:, root], np.broadcast_to([0, 0, 1], (len(PROMPTS), 6, 3))
    )
    np.testing.assert_array_equal(searched.values[:, root, 2], right[:, root])
    assert (searched.generations[:, root] == 1).all()
    # A search takes a wrong rollout where some were right, and asks about its middles.
    labelled = searched.weights[:, searches].any(axis=2)
    assert labelled.any() and not right[:, searches][labelled].any()
    mixed = right[:, root].any(axis=1) & ~right[:, root].all(axis=1)
    np.testing.assert_array_equal(labelled[:, 0], mixed)
    asked = searched.weights[:, searches].sum(axis=2)
    np.testing.assert_array_equal(searched.generations[:, searches], 6 * asked)
    assert (searched.weights[:, searches, 2] == 0).all()  # the whole is known to be wrong
    values = searched.values[:, searches]
    assert ((values >= 0) & (values <= 1)).all()
    # Nothing saves a wrong first letter.
    letters = searched.solutions[:, searches, 0] == np.asarray(PROMPTS)[:, None, 0]
    assert (values[~letters] == 0).all() and (values[letters] > 0).any()

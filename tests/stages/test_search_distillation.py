import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import ParallelConfig, SearchConfig
from rlsearch.parallel.mesh import make_mesh, over_data, row_keys
from rlsearch.stages.search_distillation import SearchDistillation, search_targets
from rlsearch.stages.teaching import Teaching
from tests.toy import (
    PAD,
    ImpossibleToyTask,
    ToyTask,
    can_be_right,
    toy_format,
    toy_model,
    toy_writer,
)

ROWS = 8
KEYS = row_keys(jax.random.key(0), ROWS)
# All 27 words are in a tree of this size, and each decision's three steps among its candidates.
EXHAUSTIVE = SearchConfig(num_simulations=200, num_candidates=5, value_scale=0.06, min_p=0.0)
CONTRAST = 0.4
SMALL = SearchConfig(num_simulations=4, num_candidates=4)


def teaching(critic_samples=0, traces=0, **fields):
    return Teaching(
        num_problems=ROWS,
        replay_size=12 * ROWS,
        critic_samples=critic_samples,
        traces=traces,
        contrast=CONTRAST,
        **fields,
    )


def run(search, fields, company=None, task=None, keys=KEYS, devices=1):
    """The targets of a search, with other `fields` of the stage, and with companions."""
    config = SearchDistillation(search=search, teaching=company or teaching(), **fields)

    def targets(writer, keys):
        return search_targets(task or ToyTask(), writer, keys, config)

    mesh = make_mesh(ParallelConfig(data=devices))
    rows, metrics = jax.jit(over_data(mesh, targets))(toy_writer(0.3), keys)
    return jax.tree.map(np.asarray, rows), jax.tree.map(np.asarray, metrics)


COMPANY = teaching(critic_samples=1, traces=2, trace_choices=0.0)


@pytest.fixture(scope="module")
def exhaustive():
    return run(EXHAUSTIVE, {"num_targets": 5})


@pytest.fixture(scope="module")
def small_with_company():
    return run(SMALL, {"num_targets": 2}, COMPANY)


@pytest.fixture(scope="module")
def small(small_with_company):
    rows, metrics = small_with_company
    return jax.tree.map(lambda x: x[::4], rows), metrics


def taken_before(rows, row, step) -> list[int]:
    return rows.steps[row, :step, 0, 0].tolist()


@pytest.mark.parametrize("actions", ["steps", "tokens"])
def test_rows_hold_the_solution_that_was_taken(actions, request):
    if actions == "steps":
        (rows, metrics), decisions, length = request.getfixturevalue("small"), 3, 2
    else:
        search = SearchConfig(policy="puct", actions="tokens", num_simulations=4)
        (rows, metrics), decisions, length = run(search, {"num_targets": 2}), 6, 1
    assert rows.prompts.shape == (ROWS, 3)
    assert rows.steps.shape == (ROWS, decisions, 2, length)
    for field in (rows.weights, rows.values, rows.value_weights):
        assert field.shape == (ROWS, decisions, 2) and field.dtype == np.float32
    assert rows.prompt_values.shape == rows.prompt_value_weights.shape == (ROWS,)
    taken = rows.steps[:, :, 0].reshape(ROWS, -1)
    right = ToyTask().check_tokens(jnp.array(rows.prompts), jnp.array(taken))
    assert np.array(toy_format().grammar)[np.arange(6), taken].all()
    np.testing.assert_array_equal(metrics["solved"], right)
    np.testing.assert_array_equal(rows.values[:, -1, 0], right)
    assert metrics["search_tokens"].shape == (ROWS,)
    assert (metrics["search_tokens"] <= decisions * 4 * length).all()


def test_candidates_with_weight_are_distinct_steps(exhaustive, small):
    for rows, _ in (exhaustive, small):
        for row, step in np.ndindex(*rows.weights.shape[:2]):
            letters = rows.steps[row, step, rows.weights[row, step] > 0, 0].tolist()
            assert len(letters) == len(set(letters))


def test_a_decision_is_learnt_from_where_something_right_was_found_below(exhaustive):
    rows, _ = exhaustive
    found = np.array(
        [
            [can_be_right(prompt, taken_before(rows, row, step)) for step in range(3)]
            for row, prompt in enumerate(rows.prompts)
        ]
    )
    assert found.any() and not found.all()
    assert SearchDistillation().unsolved_weight == 0.0
    np.testing.assert_allclose(rows.weights.sum(axis=-1), found, atol=1e-5)
    np.testing.assert_array_equal(rows.prompt_values, 1.0)


def test_value_targets_are_1_exactly_where_the_problem_was_solved_afterwards(exhaustive):
    rows, _ = exhaustive
    assert (rows.value_weights[:, :, 0] == 1).all()
    for row, step, candidate in np.argwhere(rows.weights > 0):
        letters = [*taken_before(rows, row, step), int(rows.steps[row, step, candidate, 0])]
        value = can_be_right(rows.prompts[row], letters)
        assert rows.values[row, step, candidate] == value
    assert set(np.unique(rows.values)) == {0.0, 1.0}
    # What was not taken is judged only where it ends the solution.
    assert (rows.value_weights[:, :-1, 1:] == 0).all()
    assert (rows.value_weights[:, -1, 1:3] > 0).any()


def test_a_small_search_claims_nothing_that_is_not_so(small):
    rows, _ = small
    for row, step, candidate in np.ndindex(rows.values.shape):
        letters = [*taken_before(rows, row, step), int(rows.steps[row, step, candidate, 0])]
        if rows.values[row, step, candidate]:
            assert can_be_right(rows.prompts[row], letters)
        if rows.weights[row, step, candidate]:
            assert can_be_right(rows.prompts[row], letters[:-1])
    assert (rows.weights.sum(axis=-1) <= 1 + 1e-5).all()


def test_what_is_right_gains_weight_over_what_is_wrong(exhaustive):
    rows, _ = exhaustive
    model, params = toy_model()[0], toy_writer(0.3).params
    words = np.concatenate([rows.prompts, rows.steps[:, :, 0].reshape(ROWS, -1)], axis=1)

    @jax.jit
    def read(params):
        return model.policy_logits(params, model.read(params, words)[0])

    logits = read(params)[:, 2:-1:2]  # which predict the three letters
    letters = rows.steps[:, :, :, 0]
    prior = np.exp(np.take_along_axis(np.asarray(logits), letters, axis=2))  # times a constant
    seen = 0
    for row, step in np.ndindex(ROWS, 3):
        before = taken_before(rows, row, step)
        live = np.flatnonzero(rows.weights[row, step])
        right = np.array(
            [
                can_be_right(rows.prompts[row], [*before, letter])
                for letter in letters[row, step, live].tolist()
            ]
        )
        if right.any() and not right.all():
            gains = (rows.weights / prior)[row, step, live]
            assert gains[right].min() > 2 * gains[~right].max()
            seen += 1
    assert seen >= ROWS


def test_where_nothing_is_solved_the_critic_is_followed_as_far_as_asked():
    followed = {"num_targets": 4, "unsolved_weight": 0.25}
    rows, metrics = run(SMALL, followed, task=ImpossibleToyTask())
    np.testing.assert_allclose(rows.weights.sum(axis=-1), 0.25, atol=1e-5)
    assert not rows.values.any() and not rows.prompt_values.any() and not metrics["solved"].any()


def test_a_problem_depends_on_its_own_key_alone(small_with_company):
    """Not on the other problems of its batch, nor on the devices that these are split over."""
    fewer = run(SMALL, {"num_targets": 2}, COMPANY, keys=KEYS[: ROWS // 2], devices=2)
    half = jax.tree.leaves(fewer)
    for one, other in zip(half, jax.tree.leaves(small_with_company), strict=True):
        assert len(one) == len(other) // 2
        np.testing.assert_allclose(one, other[: len(one)], atol=1e-5)


def test_critic_samples_teach_the_value_alone(small_with_company):
    searched, sampled = (
        jax.tree.map(lambda x, i=i: x[i::4], small_with_company[0]) for i in (0, 1)
    )
    np.testing.assert_array_equal(searched.prompts, sampled.prompts)
    assert not sampled.weights.any() and not sampled.prompt_value_weights.any()
    assert (sampled.steps[:, :, 1] == PAD).all() and not sampled.value_weights[:, :, 1].any()
    taken = sampled.steps[:, :, 0].reshape(ROWS, -1)
    right = np.asarray(ToyTask().check_tokens(jnp.array(sampled.prompts), jnp.array(taken)))
    assert not right.all()
    np.testing.assert_array_equal(sampled.values[:, :, 0], np.tile(right[:, None], 3))
    np.testing.assert_allclose(sampled.value_weights[:, :, 0], ROWS * [[0.3, 0.3, 1.0]])


def test_traces_go_on_beside_the_search(small_with_company):
    rows = jax.tree.map(lambda x: x.reshape(ROWS, 4, *x.shape[1:]), small_with_company[0])
    traces = jax.tree.map(lambda x: x[:, 2:].reshape(ROWS * 2, *x.shape[2:]), rows)
    words = traces.steps[:, :, 0].reshape(ROWS * 2, -1)
    assert np.array(toy_format().grammar)[np.arange(6), words].all()
    right = np.asarray(ToyTask().check_tokens(jnp.array(traces.prompts), jnp.array(words)))
    np.testing.assert_array_equal(traces.values[:, :, 0], np.tile(right[:, None], 3))
    np.testing.assert_array_equal(traces.prompt_values, right)
    assert (traces.steps[:, :, 1] == PAD).all()
    assert not traces.weights[:, :, 1].any() and not traces.value_weights[:, :, 1].any()
    choices = ~ToyTask.consequences
    assert not traces.counted[:, :, 0][:, choices].any() and traces.counted[:, :, 0].any()
    # Each has a key of its own.
    seen = np.concatenate([traces.prompts, words], axis=1).reshape(ROWS, 2, -1)
    assert (seen[:, 0] != seen[:, 1]).any(axis=1).mean() > 0.5
    assert (rows.prompts[:, 0] != rows.prompts[:, 2]).any(axis=1).mean() > 0.5

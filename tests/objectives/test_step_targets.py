import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.objectives.step_targets import (
    StepTargets,
    per_weight,
    read_rows,
    row_mask,
    step_losses,
)
from tests.toy import PAD, perturbed, toy_model

ROWS, PROMPT, STEPS, CANDIDATES, LENGTH, VOCAB = 3, 4, 3, 3, 4, 5


def whole_loss(model, params, rows):
    return step_losses(model, params, per_weight(rows), PAD)


@pytest.fixture(scope="module")
def network():
    model, params = toy_model()
    return model, perturbed(params)


@pytest.fixture(scope="module")
def read(network):
    return jax.jit(lambda params, rows: read_rows(network[0], params, rows, PAD))


@pytest.fixture(scope="module")
def loss(network):
    return jax.jit(lambda params, rows: whole_loss(network[0], params, rows))


@pytest.fixture(scope="module")
def gradient(network):
    return jax.jit(
        jax.grad(lambda params, rows: step_losses(network[0], params, per_weight(rows), PAD)[0])
    )


def random_rows(seed=0) -> StepTargets:
    """Rows with random steps of one to four tokens, random weights and random values."""
    random = np.random.default_rng(seed)
    shape = (ROWS, STEPS, CANDIDATES)
    steps = random.integers(1, VOCAB, (*shape, LENGTH))
    steps[np.arange(LENGTH) >= random.integers(1, LENGTH + 1, shape)[..., None]] = PAD
    return StepTargets(
        prompts=jnp.array(random.integers(1, VOCAB, (ROWS, PROMPT)), jnp.int32),
        steps=jnp.array(steps, jnp.int32),
        weights=jnp.array(random.random(shape), jnp.float32),
        values=jnp.array(random.integers(0, 2, shape), jnp.float32),
        value_weights=jnp.array(random.random(shape), jnp.float32),
        prompt_values=jnp.array(random.integers(0, 2, ROWS), jnp.float32),
        prompt_value_weights=jnp.array(random.random(ROWS), jnp.float32),
    )


def without_padding(step) -> list[int]:
    return [int(token) for token in step if token != PAD]


def read_alone(network, rows):
    """As `read_rows`, from a forward pass over each candidate alone, its padding left out."""
    model, params = network
    prefixes, wholes = [], []
    for row, step, candidate in np.ndindex(ROWS, STEPS, CANDIDATES):
        prefix = [int(token) for token in rows.prompts[row]]
        for before in range(step):
            prefix += without_padding(rows.steps[row, before, 0])
        prefixes.append(len(prefix))
        wholes.append(prefix + without_padding(rows.steps[row, step, candidate]))
    longest = PROMPT + STEPS * LENGTH
    tokens = np.array([whole + [PAD] * (longest - len(whole)) for whole in wholes], np.int32)

    @jax.jit
    def read(params, tokens):
        hidden, _ = model.read(params, tokens)
        logits = model.policy_logits(params, hidden)
        return jax.nn.log_softmax(logits), model.value_logit(params, hidden)

    log_probs, logits = (np.asarray(x) for x in read(params, tokens))
    places = [range(start, len(whole)) for start, whole in zip(prefixes, wholes, strict=True)]
    totals = [
        sum(log_probs[i, place - 1, tokens[i, place]] for place in span)
        for i, span in enumerate(places)
    ]
    ends = [logits[i, span[-1]] for i, span in enumerate(places)]
    shape = (ROWS, STEPS, CANDIDATES)
    return np.reshape(totals, shape), np.reshape(ends, shape), logits[::9, PROMPT - 1]


def assert_same(one, other, atol=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def test_packed_rows_equal_separate_forward_passes(network, read):
    rows = random_rows()
    lengths = np.asarray(rows.steps != PAD).sum(axis=-1)
    assert set(lengths.reshape(-1)) == {1, 2, 3, 4}  # shorter steps are among them
    for packed, alone in zip(read(network[1], rows), read_alone(network, rows), strict=True):
        np.testing.assert_allclose(packed, alone, atol=1e-4)


def test_the_mask_lets_a_candidate_see_the_followed_steps_and_itself():
    steps = jnp.array([[[[2, 1], [3, PAD]], [[4, PAD], [2, 1]]]], jnp.int32)
    # Places: the prompt, then 2 1 | 3 pad || 4 pad | 2 1.
    expected = [
        "100000000",
        "110000000",
        "111000000",
        "100100000",
        "100110000",
        "111001000",
        "111001100",
        "111000010",
        "111000011",
    ]
    mask = np.asarray(row_mask(1, steps, PAD))[0]
    assert ["".join(str(int(x)) for x in line) for line in mask] == expected


def test_the_loss_is_the_weighted_full_vocabulary_likelihood(network, loss):
    rows = random_rows(1)
    log_probs, value_logits, prompt_logits = read_alone(network, rows)
    total, metrics = loss(network[1], rows)
    policy_loss = -(rows.weights * log_probs).sum() / rows.weights.sum()
    logits = np.concatenate([value_logits.reshape(-1), prompt_logits])
    values = np.concatenate([rows.values.reshape(-1), rows.prompt_values])
    weights = np.concatenate([rows.value_weights.reshape(-1), rows.prompt_value_weights])
    off = np.abs(values - 1 / (1 + np.exp(-logits)))
    np.testing.assert_allclose(metrics["policy_loss"], policy_loss, rtol=1e-4)
    value_loss = -(weights * np.log(1 - off)).sum() / weights.sum()
    np.testing.assert_allclose(metrics["value_loss"], value_loss, rtol=1e-4)
    value_error = (weights * off).sum() / weights.sum()
    np.testing.assert_allclose(metrics["value_error"], value_error, rtol=1e-4)
    np.testing.assert_allclose(total, metrics["policy_loss"] + metrics["value_loss"], rtol=1e-6)


def policy_alone(rows: StepTargets) -> StepTargets:
    return rows._replace(
        value_weights=jnp.zeros_like(rows.value_weights),
        prompt_value_weights=jnp.zeros_like(rows.prompt_value_weights),
    )


def moved(params, gradient, rate):
    return jax.tree.map(lambda x, g: x - rate * g, params, gradient)


def test_a_step_raises_the_likelihood_where_the_candidates_own_ratios_are_the_targets(
    network, read, gradient
):
    """With the policy's own ratios as weights, a loss renormalised over K teaches nothing."""
    model, params = network
    rows = policy_alone(random_rows(2))
    before, *_ = read(params, rows)
    rows = rows._replace(weights=jax.nn.softmax(before, axis=-1))

    @jax.jit
    @jax.grad
    def renormalised(params):
        log_probs, *_ = read_rows(model, params, rows, PAD)
        return -(rows.weights * jax.nn.log_softmax(log_probs, axis=-1)).sum()

    assert_same(renormalised(params), jax.tree.map(jnp.zeros_like, params), atol=1e-4)
    after, *_ = read(moved(params, gradient(params, rows), 1e-2), rows)
    assert (rows.weights * (after - before)).sum() > 0.01
    mass = [jax.nn.logsumexp(x, axis=-1).mean() for x in (before, after)]
    assert mass[1] > mass[0] + 0.005  # of all candidates together


def test_a_candidate_of_weight_0_gives_no_policy_gradient(network, gradient):
    _, params = network
    rows = policy_alone(random_rows(3))
    rows = rows._replace(weights=rows.weights.at[:, :, 1].set(0.0))
    steps = jnp.where(rows.steps == PAD, PAD, 1 + rows.steps % (VOCAB - 1))
    other = rows._replace(steps=rows.steps.at[:, :, 1].set(steps[:, :, 1]))
    assert not np.array_equal(rows.steps, other.steps)
    assert_same(gradient(params, rows), gradient(params, other))
    nothing = rows._replace(weights=jnp.zeros_like(rows.weights))
    for leaf in jax.tree.leaves(gradient(params, nothing)):
        np.testing.assert_array_equal(leaf, 0.0)


def test_tokens_that_do_not_count_give_no_policy_gradient(network, read, gradient):
    _, params = network
    rows = policy_alone(random_rows(8))
    counted = np.random.default_rng(8).random(rows.steps.shape) < 0.5
    some, others = (rows._replace(counted=jnp.array(x)) for x in (counted, ~counted))
    every = rows._replace(counted=jnp.ones_like(some.counted))
    assert_same(read(params, every), read(params, rows), atol=1e-5)
    parts = [read(params, part)[0] for part in (some, others)]
    np.testing.assert_allclose(sum(parts), read(params, rows)[0], atol=1e-4)
    both = jax.tree.map(jnp.add, gradient(params, some), gradient(params, others))
    assert_same(both, gradient(params, rows), atol=1e-4)
    none = rows._replace(counted=jnp.zeros_like(some.counted))
    for leaf in jax.tree.leaves(gradient(params, none)):
        np.testing.assert_array_equal(leaf, 0.0)


def test_padded_candidates_and_finished_rows_are_numbers(network, read, gradient):
    _, params = network
    rows = random_rows(4)
    rows = rows._replace(steps=rows.steps.at[:, 2].set(PAD).at[:, 1, 2].set(PAD))
    log_probs, value_logits, _ = read(params, rows)
    assert (log_probs[:, 2] == 0).all() and (log_probs[:, 1, 2] == 0).all()
    assert np.isfinite(value_logits).all()
    for leaf in jax.tree.leaves(gradient(params, rows)):
        assert np.isfinite(leaf).all()


def test_no_gradient_flows_into_targets(network):
    model, params = network
    rows = random_rows(5)

    @jax.jit
    @jax.grad
    def gradient_of_targets(targets):
        return whole_loss(model, params, rows._replace(**targets))[0]

    names = ("weights", "values", "value_weights", "prompt_values", "prompt_value_weights")
    for leaf in jax.tree.leaves(gradient_of_targets({n: getattr(rows, n) for n in names})):
        np.testing.assert_array_equal(leaf, 0.0)


def test_the_value_loss_pulls_the_value_to_the_target(network, read, loss, gradient):
    _, params = network
    rows = random_rows(6)
    rows = rows._replace(weights=jnp.zeros_like(rows.weights))
    trained = params
    for _ in range(100):
        trained = moved(trained, gradient(trained, rows), 0.1)
    first, last = (loss(p, rows)[1] for p in (params, trained))
    assert last["value_loss"] < 0.8 * first["value_loss"]
    assert last["value_error"] < 0.8 * first["value_error"]


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_one_value_target_pulls_its_own_value(network, read, gradient, target):
    _, params = network
    rows = random_rows(7)
    rows = rows._replace(
        weights=jnp.zeros_like(rows.weights),
        values=jnp.full_like(rows.values, target),
        value_weights=jnp.zeros_like(rows.value_weights).at[0, 1, 2].set(1.0),
        prompt_value_weights=jnp.zeros_like(rows.prompt_value_weights),
    )
    stepped = moved(params, gradient(params, rows), 0.01)
    before, after = (read(p, rows)[1][0, 1, 2] for p in (params, stepped))
    assert (after > before) == (target == 1.0)

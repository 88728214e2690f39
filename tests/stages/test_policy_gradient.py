import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config_file import load
from rlsearch.decoding.sampling import Sampling
from rlsearch.objectives.advantages import advantage_learning, clipped
from rlsearch.objectives.groups import sample_groups
from rlsearch.objectives.step_targets import read_rows
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Weights
from rlsearch.stages.policy_gradient import PolicyGradient, policy_gradient_targets, sample_rows
from rlsearch.stages.teaching import Teaching
from tests.toy import PAD, ToyTask, can_be_right, toy_writer

KEYS = row_keys(jax.random.key(2), 64)
NUMBER = 8


def made(task=None, **fields):
    teaching = Teaching(
        num_problems=64, task_fraction=0.5, critic_samples=1, traces=1, replay_size=192
    )
    config = PolicyGradient(num_samples=NUMBER, teaching=teaching, **fields)
    run = jax.jit(lambda writer: policy_gradient_targets(task or ToyTask(), writer, KEYS, config))
    return run(toy_writer(0.25))


@functools.cache
def targets():
    return made()


def of_problems(rows):
    """The right row, the wrong row, the critic's and the trace of each problem."""
    return [jax.tree.map(lambda x, kind=kind: np.asarray(x[kind::4]), rows) for kind in range(4)]


def test_a_problem_gives_a_right_row_and_a_wrong_one_of_opposite_advantages():
    rows, metrics = targets()
    right, wrong, critic, trace = of_problems(rows)
    share = np.asarray(metrics["sample_accuracy"])
    spread = (share > 0) & (share < 1)
    assert 10 < spread.sum() < 64
    np.testing.assert_array_equal(metrics["no_spread"] == 0, spread)
    size = np.sqrt(share * (1 - share))[:, None, None]
    for kind, sign in ((right, 1), (wrong, -1)):
        written = kind.rows.steps[..., 0] != PAD
        np.testing.assert_allclose(kind.advantages, sign * size * written, rtol=1e-6)
        assert (kind.rows.weights == 0).all()
        for row in np.flatnonzero(spread):
            letters = kind.rows.steps[row, :, 0, 0].tolist()
            assert can_be_right(kind.rows.prompts[row].tolist(), letters) == (sign > 0)
            assert (kind.rows.values[row] == (sign > 0)).all()
            assert (kind.rows.value_weights[row] == 1).all()
    for companion in (critic, trace):
        assert (companion.advantages == 0).all()
    assert trace.rows.weights.any()
    both = right.rows.prompt_value_weights + wrong.rows.prompt_value_weights
    assert (both == 1).all()


def test_without_the_division_an_advantage_is_the_distance_to_the_mean():
    rows, metrics = made(standardise=False)
    share = np.asarray(metrics["sample_accuracy"])
    right = of_problems(rows)[0]
    np.testing.assert_allclose(right.advantages[:, 0, 0], share * (1 - share), rtol=1e-6)


def gradient(writer, rows):
    """Of the clipped gain alone, at the policy that wrote the rows."""

    def gain(params):
        log_probs, _, _ = read_rows(writer.policy.model, params, rows.rows, PAD)
        ratio = jnp.exp(log_probs - rows.writer_log_probs)
        return clipped(ratio, rows.advantages, 0.2).sum() / len(rows.advantages)

    flat = jax.tree.leaves(jax.grad(gain)(writer.params))
    return jnp.concatenate([leaf.reshape(-1) for leaf in flat])


def test_a_right_and_a_wrong_sample_stand_for_their_group():
    """The mean over all pairs of a group is the gradient of GRPO over all of its samples."""
    writer, task = toy_writer(0.25), ToyTask()
    prompts = jax.vmap(task.draw_task_problem)(KEYS[:16])
    first = writer.start(prompts)
    group = jax.jit(lambda keys: sample_groups(task, writer, first, keys, NUMBER, Sampling()))(
        KEYS[:16]
    )
    share = group.right.mean(axis=1)
    spread = int(jnp.argmax(jnp.where((share > 0) & (share < 1), 1 + share, 0)))
    one = jax.tree.map(lambda x: x[spread : spread + 1], group)
    right, prompt = np.asarray(one.right[0]), prompts[spread : spread + 1]
    deviation = right.std()
    exact = 0.0
    means = {True: 0.0, False: 0.0}
    for number in range(NUMBER):
        lots = jnp.where(jnp.arange(NUMBER) == number, 1.0, -1.0)[None]
        row = sample_rows(writer, prompt, one, lots, jnp.ones((1,)))
        found = gradient(writer, row)
        exact += (right[number] - right.mean()) / deviation * found / NUMBER
        means[bool(right[number])] += found / (right == right[number]).sum()
    pair = deviation * (means[True] - means[False])
    np.testing.assert_allclose(pair, exact, atol=1e-6)


@pytest.mark.parametrize(
    "ratio,advantage,gain,moves",
    [(1.0, 2.0, 2.0, True), (1.5, 2.0, 2.4, False), (0.5, 2.0, 1.0, True)]
    + [(1.0, -1.0, -1.0, True), (0.5, -1.0, -0.8, False), (1.5, -1.0, -1.5, True)],
)
def test_a_ratio_far_enough_from_one_stops(ratio, advantage, gain, moves):
    value, slope = jax.value_and_grad(clipped)(ratio, advantage, 0.2)
    np.testing.assert_allclose(value, gain, rtol=1e-6)
    assert (slope != 0) == moves


def test_a_step_along_the_loss_makes_right_rows_likelier_than_wrong_ones():
    rows, metrics = targets()
    writer = toy_writer(0.25)
    pairs = jax.tree.map(lambda x: x.reshape(64, 4, *x.shape[1:])[:, :2], rows)
    pairs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), pairs)
    weigh, learn = advantage_learning(writer.policy.model, PAD)

    def loss(params):
        return learn(Weights(params, {}), weigh(pairs), KEYS)[1]["policy_loss"]

    slope = jax.grad(loss)(writer.params)
    after = jax.tree.map(lambda x, g: x - 0.01 * g, writer.params, slope)
    log_probs = [
        np.asarray(read_rows(writer.policy.model, params, pairs.rows, PAD)[0]).sum(axis=(1, 2))
        for params in (writer.params, after)
    ]
    change = (log_probs[1] - log_probs[0]).reshape(64, 2)[np.asarray(metrics["no_spread"]) == 0]
    assert (change[:, 0] - change[:, 1]).mean() > 0.01


def test_it_is_trained_for_the_flops_of_another_stage():
    lineage = Lineage(load("game24_control"))
    spent = {
        name: lineage.num_steps(name) * lineage.stage(name).flops(lineage).needed
        for name in ("distilled", "control", "reinforced")
    }
    for name in ("control", "reinforced"):
        np.testing.assert_allclose(spent[name], spent["distilled"], rtol=0.01)
    control, reinforced = (lineage.stage(x).flops(lineage) for x in ("control", "reinforced"))
    row = control.update / 768
    np.testing.assert_allclose(reinforced.produce - control.produce, 128 * 2 * row / 3, rtol=1e-6)

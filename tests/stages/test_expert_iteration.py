import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config_file import load
from rlsearch.decoding.writer import Writer
from rlsearch.objectives.groups import Group, repeated
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.stages.expert_iteration import (
    ExpertIteration,
    expert_iteration_targets,
)
from rlsearch.stages.teaching import Teaching
from tests.tiny import with_stage
from tests.toy import (
    A,
    B,
    C,
    ImpossibleToyTask,
    ToyTask,
    can_be_right,
    solution,
    toy_model,
    toy_policy,
    toy_writer,
)

KEYS = row_keys(jax.random.key(2), 64)


@functools.cache
def sampled(num_samples, critic_samples=0, traces=0, min_p=0.0, task=None, scale=None):
    teaching = Teaching(
        num_problems=64,
        task_fraction=0.5,
        critic_samples=critic_samples,
        traces=traces,
        replay_size=64 * (1 + critic_samples + traces),
    )
    config = ExpertIteration(num_steps=1, num_samples=num_samples, min_p=min_p, teaching=teaching)
    run = jax.jit(lambda writer: expert_iteration_targets(task or ToyTask(), writer, KEYS, config))
    return run(toy_writer(scale) if scale else Writer(toy_policy(), toy_model()[1]))


def test_expert_iteration_imitates_right_solutions_alone():
    rows, metrics = sampled(1)
    assert rows.steps.shape == (64, 3, 1, 2)
    for row in range(64):
        letters = rows.steps[row, :, 0, 0].tolist()
        assert rows.steps[row].reshape(-1).tolist() == solution(letters)
        right = can_be_right(rows.prompts[row].tolist(), letters)
        for field in (rows.weights, rows.values, rows.prompt_values, metrics["solved"]):
            assert (field[row] == right).all()
    assert 0 < metrics["solved"].sum() < 64
    assert (rows.value_weights == 1).all() and (rows.prompt_value_weights == 1).all()


def test_a_right_sample_is_learnt_wherever_there_is_one():
    one, _ = sampled(1)
    rows, metrics = sampled(8, 1, 1)
    many = jax.tree.map(lambda x: x[::3], rows)
    share, number = (np.asarray(metrics[name]) for name in ("sample_accuracy", "right_solutions"))
    np.testing.assert_array_equal(many.prompt_values == 1.0, share > 0)
    np.testing.assert_array_equal(metrics["solved"] == 1.0, share > 0)
    np.testing.assert_array_equal(number > 0, share > 0)
    assert (number <= np.minimum(8 * share, 3)).all() and (number < 8 * share).any()
    assert ((share > 0) & (np.asarray(one.prompt_values) == 0.0)).any()
    assert (metrics["search_tokens"] == 8 * 6).all()


def test_of_different_right_samples_each_is_learnt_as_often():
    """Of the three right words of a problem the policy draws one far more often than another."""
    rows, metrics = sampled(192, scale=0.25)
    three = np.asarray(metrics["right_solutions"]) == 3
    assert three.mean() > 0.5
    middle = np.asarray(rows.steps)[three, 1, 0, 0]
    counts = np.array([(middle == letter).sum() for letter in (A, B, C)])
    assert counts.min() > three.sum() / 6, counts
    tokens = jnp.array([[[1, 2], [3, 4], [1, 2], [1, 2]]])
    assert repeated(tokens).tolist() == [[False, False, True, True]]
    right, nothing = jnp.ones((1, 4), bool), jnp.zeros((1, 4))
    assert Group(tokens, right, nothing, nothing).counts().tolist() == [[3, 1, 3, 3]]


def test_where_no_sample_is_right_the_one_believed_most_is_learnt_as_wrong():
    rows, _ = sampled(16, task=ImpossibleToyTask(), scale=0.4)
    few, _ = sampled(1, task=ImpossibleToyTask(), scale=0.4)
    assert not rows.weights.any() and not rows.values.any()

    def believed(rows):
        writer = toy_writer(0.4)
        tokens = jnp.concatenate([rows.prompts, rows.steps.reshape(64, -1)], axis=1)
        hidden = writer.policy.model.read(writer.params, tokens)[0][:, -1]
        return np.asarray(writer.policy.model.value(writer.params, hidden))

    assert (believed(rows) >= believed(few) - 1e-5).all()
    assert believed(rows).mean() > believed(few).mean() + 0.01


def test_expert_iteration_has_the_companions_of_search():
    rows, _ = sampled(8, 1, 1)
    _, samples, traces = (jax.tree.map(lambda x, i=i: np.asarray(x[i::3]), rows) for i in range(3))
    assert rows.steps.shape == (192, 3, 1, 2)
    assert not samples.weights.any() and samples.value_weights.all()
    assert 0 < samples.values.mean() < 1
    assert traces.weights.any() and not traces.counted.all()


def test_empty_candidates_of_the_teacher_buy_the_control_nothing():
    """Only the teacher's own rows, one of three, have a second candidate to be learnt."""
    config = with_stage(load("game24_control"), "distilled", num_targets=2)
    lineage = Lineage(config)
    distilled = lineage.stage("distilled")
    one = dataclasses.replace(distilled, num_targets=1).flops(lineage)
    two = distilled.flops(lineage)
    assert one.empty == 0.0 and one.needed == one.total == one.produce + one.update
    np.testing.assert_allclose(two.needed - one.needed, (two.total - one.total) / 3)
    spent = distilled.num_steps * two.needed
    control = lineage.stage("control").flops(lineage)
    assert lineage.num_steps("control") == round(spent / control.total)
    padded = Lineage(with_stage(config, "control", flops_with_empty=True))
    assert padded.num_steps("control") == round(distilled.num_steps * two.total / control.total)


def test_the_control_draws_as_its_teacher_does():
    _, distilled, control, reinforced = load("game24_control").stages
    assert control.min_p == distilled.search.min_p > 0
    assert control.teaching == reinforced.teaching == distilled.teaching
    assert control.min_p == reinforced.min_p and control.num_samples == reinforced.num_samples
    plain, _ = sampled(1)
    likeliest, _ = sampled(1, min_p=0.999)
    assert (np.asarray(plain.steps) != np.asarray(likeliest.steps)).any()
    again, _ = sampled(8, min_p=0.999)  # only the likeliest token is left at every place
    right = np.asarray(likeliest.prompt_values) == 1.0
    np.testing.assert_array_equal(np.asarray(again.prompt_values) == 1.0, right)

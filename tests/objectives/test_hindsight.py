import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.parallel.mesh import row_keys
from tests.toy import ToyTask

CONTRAST = 0.4


def test_hindsight_rows_say_what_was_reached():
    rows = jax.jit(lambda keys: hindsight_targets(ToyTask(), keys, CONTRAST))(
        row_keys(jax.random.key(3), 512)
    )
    rows = jax.tree.map(np.asarray, rows)
    words = jnp.array(rows.steps.reshape(512, 6))
    reached = np.asarray(ToyTask().check_tokens(jnp.array(rows.prompts), words))
    np.testing.assert_array_equal(rows.values[:, :, 0], np.tile(reached[:, None], 3))
    np.testing.assert_array_equal(rows.prompt_values, reached)
    # One trace in nine has the held-out goal: nothing is learnt from it.
    learnt = rows.weights.all(axis=(1, 2))
    np.testing.assert_allclose(learnt.mean(), 8 / 9, atol=0.05)
    assert not rows.weights[~learnt].any() and not rows.value_weights[~learnt].any()
    assert not rows.prompt_value_weights[~learnt].any()
    # Of a trace that is shown with another goal the policy learns the consequences alone.
    own = rows.counted.all(axis=(1, 2, 3))
    assert own[reached].mean() > 0.7 and not own[~reached].any()
    np.testing.assert_allclose(own.mean(), 1 - CONTRAST, atol=0.1)
    assert (rows.counted[~own] == np.array(ToyTask.consequences)[:, None]).all()
    # Own and other goals weigh the same for the value, whatever the share of either.
    value_weights = rows.value_weights.sum(axis=(1, 2))
    np.testing.assert_allclose(value_weights[own].sum(), value_weights[~own].sum(), rtol=0.2)
    assert not (own & learnt & (rows.prompts == ToyTask().held_out_prompts()).all(axis=1)).any()


def test_choices_are_learnt_of_so_many_traces_and_consequences_of_all():
    keys = row_keys(jax.random.key(3), 512)
    all_, half, none = (
        jax.jit(lambda keys, share=share: hindsight_targets(ToyTask(), keys, CONTRAST, share))(keys)
        for share in (1.0, 0.5, 0.0)
    )
    choices = ~np.array(ToyTask.consequences)[:, None]
    learnt = [np.asarray(rows.counted)[:, choices].mean() for rows in (all_, half, none)]
    np.testing.assert_allclose(learnt, [1 - CONTRAST, (1 - CONTRAST) / 2, 0.0], atol=0.06)
    for rows in (all_, half, none):
        assert np.asarray(rows.counted)[:, ~choices].all()
        np.testing.assert_array_equal(rows.value_weights, all_.value_weights)
        np.testing.assert_array_equal(rows.weights, all_.weights)

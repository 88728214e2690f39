import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.objectives.step_targets import StepTargets
from rlsearch.objectives.widen import widen
from tests.toy import toy_format


def test_rows_of_traces_are_widened_to_tokens():
    """Two steps of four tokens at most: what is behind the shorter one is closed up."""
    format = dataclasses.replace(toy_format(), num_steps=2, max_step_length=4, max_length=6)
    rows = StepTargets(
        prompts=jnp.zeros((1, 3), jnp.int32),
        steps=jnp.array([[[[2, 3, 4, 1]], [[2, 1, 0, 0]]]], jnp.int32),
        weights=jnp.array([[[1.0], [0.5]]]),
        values=jnp.array([[[0.25], [0.75]]]),
        value_weights=jnp.ones((1, 2, 1)),
        prompt_values=jnp.ones(1),
        prompt_value_weights=jnp.ones(1),
        counted=jnp.array([[[[True, False, True, True]], [[False, True, True, True]]]]),
    )
    like = jax.tree.map(jnp.zeros_like, rows)._replace(steps=jnp.zeros((1, 6, 3, 1), jnp.int32))
    wide = widen(rows, like, format)
    assert wide.steps.shape == wide.counted.shape == (1, 6, 3, 1)
    assert wide.steps[0, :, 0, 0].tolist() == [2, 3, 4, 1, 2, 1]
    assert wide.weights[0, :, 0].tolist() == [1, 1, 1, 1, 0.5, 0.5]
    assert wide.counted[0, :, 0, 0].tolist() == [True, False, True, True, False, True]
    at_ends = wide.value_weights[0, :, 0]
    assert at_ends.tolist() == [0, 0, 0, 1, 0, 1]
    assert wide.values[0, [3, 5], 0].tolist() == [0.25, 0.75]
    for empty in (wide.steps, wide.weights, wide.value_weights):
        assert not empty[:, :, 1:].any()

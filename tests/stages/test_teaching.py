import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.parallel.mesh import row_keys
from rlsearch.stages.teaching import Teaching
from tests.toy import NEWLINE, B, C, ToyTask


def test_problems_come_from_the_task_from_traces_and_from_other_goals():
    held_out, other = [C, C, NEWLINE], [B, C, NEWLINE]

    class ThreeSources(ToyTask):
        def draw_task_problem(self, key):
            return jnp.array(held_out)  # which no valid trace has

        def draw_trace(self, key):
            prompt, _, steps, valid = super().draw_trace(key)
            return prompt, jnp.array(other), steps, valid

    def shares(**fields):
        draw = jax.jit(lambda keys: Teaching(**fields).draw_problems(ThreeSources(), keys))
        prompts = np.asarray(draw(row_keys(jax.random.key(1), 512)))
        return [(prompts == problem).all(axis=1).mean() for problem in (held_out, other)]

    # One trace in nine is not valid, and the task's own problem stands in for it; one prompt in
    # nine is by chance the other.
    own, others = shares(task_fraction=0.4)
    np.testing.assert_allclose([own, others], [0.4 + 0.6 / 9, 0.6 / 9], atol=0.08)
    own, others = shares(task_fraction=0.1, other_goal_fraction=0.5)
    np.testing.assert_allclose([own, others], [0.1 + 0.9 / 9, 0.5 * 8 / 9 + 0.4 / 9], atol=0.08)

"""The training problems of a stage: the task's own, and unlimited ones."""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class ProblemMixture:
    """Shares of the kinds of training problems; the rest have hindsight goals."""

    task_fraction: float  # the task's own problems
    other_goal_fraction: float  # random numbers with a goal that was reached from others


def draw_problems(task: Task, keys: jax.Array, mixture: ProblemMixture) -> jax.Array:
    """Draws training problems `[B, P]`; the keys `[B]` are consumed.

    Of the unlimited ones, those with a hindsight goal have a solution, and mostly an easy one. For
    those with another goal it is unknown whether there is one.
    """

    def of_the_task(key: jax.Array) -> jax.Array:
        return task.draw_task_problem(jax.random.split(key, 3)[0])

    if mixture.task_fraction == 1:  # a task in words has no others
        return jax.vmap(of_the_task)(keys)

    def one(key: jax.Array) -> jax.Array:
        own_key, trace_key, choice_key = jax.random.split(key, 3)
        prompt, other_prompt, _, valid = task.draw_trace(trace_key)
        choice = jax.random.uniform(choice_key)
        other = choice < mixture.task_fraction + mixture.other_goal_fraction
        own = (choice < mixture.task_fraction) | ~valid
        drawn = jnp.where(other, other_prompt, prompt)
        return jnp.where(own, task.draw_task_problem(own_key), drawn)

    return jax.vmap(one)(keys)

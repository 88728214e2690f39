"""Rows that are learnt by advantages, beside others that are imitated.

The gain of an action is min(r A, clip(r) A), where r is the ratio of its probability to that under
the policy that took it, and clip keeps it near 1 (Schulman et al. 2017, eq. 7). An action is a
step.

Letters: B rows, S steps, M candidates of a step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.networks.language_model import LanguageModel
from rlsearch.objectives.step_targets import StepTargets, losses_of, per_weight, read_rows


class AdvantageRows(NamedTuple):
    """Rows, some of whose candidates have an advantage. All targets are constants."""

    rows: StepTargets
    advantages: jax.Array  # [B, S, M] float32; 0: none
    writer_log_probs: jax.Array  # [B, S, M] float32, where advantages are


def clipped(ratio: jax.Array, advantages: jax.Array, clip: float) -> jax.Array:
    """Returns the gain of actions, whose gradient ends where r has moved far enough.

    Args:
        ratio: r, of an action's probability to that under the policy that took it.
        clip: r moves the gain from 1 - clip to 1 + clip.
    """
    return jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)


def advantage_learning(
    model: LanguageModel, pad: int, clip: float = 0.2
) -> tuple[Callable, Callable]:
    """The weighing of a minibatch and the loss on it; an advantage weighs what it is large."""

    def weigh(minibatch: AdvantageRows) -> AdvantageRows:
        weights, size = minibatch.rows.weights, jnp.abs(minibatch.advantages).sum()
        unit = jnp.maximum(weights.sum() + size, 1.0) / weights.shape[0]
        rows = per_weight(minibatch.rows, beside=size)
        return minibatch._replace(rows=rows, advantages=minibatch.advantages / unit)

    def loss(weights: Any, minibatch: AdvantageRows, keys: jax.Array) -> tuple[jax.Array, dict]:
        del keys
        read = read_rows(model, weights.own, minibatch.rows, pad)
        total, metrics = losses_of(read, minibatch.rows)
        ratio = jnp.exp(read[0] - jax.lax.stop_gradient(minibatch.writer_log_probs))
        gain = clipped(ratio, jax.lax.stop_gradient(minibatch.advantages), clip)
        lost = -gain.sum() / gain.shape[0]
        metrics["policy_loss"] += lost
        return total + lost, metrics

    return weigh, loss

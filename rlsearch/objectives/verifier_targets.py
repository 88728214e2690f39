"""Targets of verifiers: how good a solution is behind each of its tokens.

An outcome reward model learns behind every token whether the whole comes out right (Cobbe et al.
2021), a process reward model behind the last token of each step what that step is worth. Both by
binary cross-entropy, so that what they say are probabilities.

Letters: B solutions, P tokens of a prompt, T tokens of a solution, S steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rlsearch.decoding.policy import SolutionFormat
from rlsearch.decoding.split import step_ends
from rlsearch.verifiers.labels import StepLabels


class VerifierTargets(NamedTuple):
    """Solutions to learn from."""

    prompts: jax.Array  # [B, P] int32
    solutions: jax.Array  # [B, T] int32, padded
    values: jax.Array  # [B, T] float32 in [0, 1], what is to be said behind each token
    weights: jax.Array  # [B, T] float32, 0 where nothing is


def outcome_targets(
    prompts: jax.Array, solutions: jax.Array, right: jax.Array, format: SolutionFormat
) -> VerifierTargets:
    """For an outcome reward model, of solutions that came out `right [B]` or not."""
    written = (solutions != format.pad).astype(jnp.float32)
    return VerifierTargets(prompts, solutions, right[:, None] * written, written)


def process_targets(labels: StepLabels, format: SolutionFormat) -> VerifierTargets:
    """For a process reward model."""
    prompts, solutions = jnp.asarray(labels.prompts), jnp.asarray(labels.solutions)
    ends, present = step_ends(solutions, format)
    blank = jnp.zeros(solutions.shape, jnp.float32)
    rows = jnp.arange(len(blank))[:, None]
    # Steps that are not there share the place of the last token, to which they add nothing.
    return VerifierTargets(
        prompts,
        solutions,
        values=blank.at[rows, ends].add(jnp.where(present, labels.values, 0.0)),
        weights=blank.at[rows, ends].add(jnp.where(present, labels.weights, 0.0)),
    )


def per_weight(targets: VerifierTargets) -> VerifierTargets:
    """Scales the weights of B rows so that a mean over rows is one per unit of weight.

    To be done for a whole minibatch: the mean of the losses of its parts is then that of the whole.
    """
    scale = jnp.maximum(targets.weights.sum(), 1.0) / len(targets.weights)
    return targets._replace(weights=targets.weights / scale)


def verifier_loss(
    logits: jax.Array, targets: VerifierTargets
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Binary cross-entropy of `logits [B, T]`, a mean over rows, in nats.

    Args:
        targets: with weights as `per_weight` makes them.

    Returns:
        `verifier_loss [] float32`, and beside it `verifier_accuracy`, how much of the weight is on
        the right side of a half, and `label_mean`, the mean of the values.
    """
    targets = jax.lax.stop_gradient(targets)

    def mean(values: jax.Array) -> jax.Array:
        return (targets.weights * values).sum() / len(targets.weights)

    loss = mean(optax.sigmoid_binary_cross_entropy(logits, targets.values))
    same = ((logits > 0) == (targets.values > 0.5)).astype(jnp.float32)
    metrics = {
        "verifier_loss": loss,
        "verifier_accuracy": mean(same),
        "label_mean": mean(targets.values),
    }
    return loss, metrics

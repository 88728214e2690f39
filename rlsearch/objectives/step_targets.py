"""The one loss of every training phase: weighted steps, and values where steps end.

A row is a problem, the solution that was followed, and for each step of it up to M candidates:
candidate 0 is the step that was followed, the others are alternatives to it under the same
prefix. Pre-training on traces and expert iteration have M = 1; search distillation has the
candidates that its search weighed.

The row is read in one forward pass. A candidate's tokens attend to the prompt, to the steps that
were followed before it and to themselves, so that no prefix is computed twice:

    policy loss  - sum_c w(c) log pi(c | prefix)      over the whole vocabulary, token by token
    value loss   binary cross-entropy of the value at the end of each step

Letters: B rows, P prompt tokens, S steps, M candidates, L tokens of a step, D features.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.objectives.log_probs import token_log_probs
from rlsearch.tasks.base import NO_TOKEN


class StepTargets(NamedTuple):
    """Rows to learn from. Every target is a constant: gradients never pass through it."""

    prompts: jax.Array  # [B, P] int32; NO_TOKEN is padding, where it is that of steps too
    steps: jax.Array  # [B, S, M, L] int32, padded behind each step's last token
    weights: jax.Array  # [B, S, M] float32, w(c); 0 for a candidate not to be imitated
    values: jax.Array  # [B, S, M] float32 in [0, 1], value target at the end of each candidate
    value_weights: jax.Array  # [B, S, M] float32
    prompt_values: jax.Array  # [B] float32 in [0, 1], value target at the end of the prompt
    prompt_value_weights: jax.Array  # [B] float32
    counted: jax.Array | None = None  # [B, S, M, L] bool, tokens the policy learns; None: all
    real: jax.Array | None = None  # [B, P] bool, False where a prompt is padded; None: nowhere


def written(steps: jax.Array, pad: int) -> jax.Array:
    """`[B, S, M]` float32, 1 for the candidates of `steps [B, S, M, L]` that have a token."""
    return (steps[..., 0] != pad).astype(jnp.float32)


def row_mask(
    prompt_length: int, steps: jax.Array, pad: int, prompt_real: jax.Array | None = None
) -> jax.Array:
    """`[B, T, T]` bool, what each token of a row attends to; T = P + S * M * L."""
    _, num_steps, num_candidates, length = steps.shape
    shape = (num_steps, num_candidates, length)
    step, candidate, place = (x.reshape(-1) for x in np.indices(shape))
    same = (step[:, None] == step) & (candidate[:, None] == candidate)
    followed = (step[:, None] > step) & (candidate == 0)
    among_steps = (same & (place[:, None] >= place)) | followed
    size = prompt_length + step.size
    mask = np.zeros((size, size), bool)
    mask[:prompt_length, :prompt_length] = np.tril(np.ones((prompt_length, prompt_length), bool))
    mask[prompt_length:, :prompt_length] = True
    mask[prompt_length:, prompt_length:] = among_steps
    # A padded place still sees itself, so that no softmax is over nothing.
    real = (steps != pad).reshape(steps.shape[0], 1, -1)
    if prompt_real is None:
        prompt_real = jnp.ones((steps.shape[0], prompt_length), bool)
    real = jnp.concatenate([prompt_real[:, None], real], axis=2)
    return (jnp.asarray(mask) & real) | jnp.eye(size, dtype=bool)


def per_weight(targets: StepTargets, beside: jax.typing.ArrayLike = 0.0) -> StepTargets:
    """Scales the weights of B rows so that a mean over rows is one per unit of weight.

    Weights that sum to less than 1 count as if they summed to 1. To be done for a whole minibatch:
    the mean of the losses of its parts is then that of the whole.

    Args:
        beside: `[]` further weight of the policy's loss, which is not in `targets`.
    """
    batch = targets.prompts.shape[0]
    policy = jnp.maximum(targets.weights.sum() + beside, 1.0) / batch
    value = targets.value_weights.sum() + targets.prompt_value_weights.sum()
    value = jnp.maximum(value, 1.0) / batch
    return targets._replace(
        weights=targets.weights / policy,
        value_weights=targets.value_weights / value,
        prompt_value_weights=targets.prompt_value_weights / value,
    )


def step_losses(
    model: LanguageModel, params: Params, targets: StepTargets, pad: int
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Policy and value losses of a batch: means over its rows.

    Args:
        targets: with weights as `per_weight` makes them.

    Returns:
        The sum of both, `[]` float32, and `policy_loss` (nats per unit of weight), `value_loss`
        (nats per unit of value weight) and `value_error` (mean absolute error of the value).
    """
    return losses_of(read_rows(model, params, targets, pad), targets)


def losses_of(
    read: tuple[jax.Array, jax.Array, jax.Array], targets: StepTargets
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The losses of rows that have been read by `read_rows`; see `step_losses`."""
    targets = jax.lax.stop_gradient(targets)
    batch = targets.prompts.shape[0]
    log_probs, value_logits, prompt_value_logits = read
    weights = targets.weights.astype(jnp.float32)
    policy_loss = -(weights * log_probs).sum() / batch

    def judged(logits: jax.Array, values: jax.Array, weights: jax.Array) -> jax.Array:
        loss = optax.sigmoid_binary_cross_entropy(logits, values)
        error = jnp.abs(jax.nn.sigmoid(logits) - values)
        return jnp.stack([(weights * loss).sum(), (weights * error).sum()]) / batch

    value_loss, value_error = judged(value_logits, targets.values, targets.value_weights) + judged(
        prompt_value_logits, targets.prompt_values, targets.prompt_value_weights
    )
    metrics = {"policy_loss": policy_loss, "value_loss": value_loss, "value_error": value_error}
    return policy_loss + value_loss, metrics


def step_learning(model: LanguageModel, pad: int) -> tuple[Callable, Callable]:
    """The weighing of a minibatch and the loss on it, as a stage has them; see `Stage`."""

    def loss(weights: Any, rows: StepTargets, keys: jax.Array) -> tuple[jax.Array, dict]:
        del keys
        return step_losses(model, weights.own, rows, pad)

    return per_weight, loss


def read_rows(
    model: LanguageModel, params: Params, targets: StepTargets, pad: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log-probability of each candidate and the value logits where they end.

    Returns:
        `[B, S, M]` sums of full-vocabulary token log-probabilities, `[B, S, M]` value logits, and
        `[B]` value logits at the end of the prompts.
    """
    prompts, steps = targets.prompts, targets.steps
    batch, num_steps, num_candidates, length = steps.shape
    prompt_length = prompts.shape[1]
    real = steps != pad
    step_lengths = real.sum(axis=-1)  # [B, S, M]
    start = jnp.cumsum(step_lengths[:, :, 0], axis=1) - step_lengths[:, :, 0]
    places = prompt_length + start[:, :, None, None] + jnp.arange(length)
    places = jnp.broadcast_to(places, steps.shape).reshape(batch, -1)
    prompt_places = jnp.broadcast_to(jnp.arange(prompt_length), prompts.shape)

    tokens = jnp.concatenate([prompts, steps.reshape(batch, -1)], axis=1)
    positions = jnp.concatenate([prompt_places, places], axis=1)
    in_prompt = prompts != NO_TOKEN if targets.real is None and pad == NO_TOKEN else targets.real
    mask = row_mask(prompt_length, steps, pad, in_prompt)
    hidden, _ = model.extend(params, tokens, positions, mask)
    prompt_end = hidden[:, prompt_length - 1]  # [B, D]
    hidden = hidden[:, prompt_length:].reshape(batch, num_steps, num_candidates, length, -1)

    last = jnp.maximum(step_lengths - 1, 0)[..., None, None]
    ends = jnp.take_along_axis(hidden, last, axis=3)[:, :, :, 0]  # [B, S, M, D]
    before = jnp.concatenate([prompt_end[:, None], ends[:, :-1, 0]], axis=1)  # [B, S, D]
    before = jnp.broadcast_to(before[:, :, None, None], (*hidden.shape[:3], 1, hidden.shape[-1]))
    predicting = jnp.concatenate([before, hidden[:, :, :, :-1]], axis=3)
    flat = predicting.reshape(batch, -1, predicting.shape[-1])
    said = token_log_probs(model, params, flat, jnp.maximum(steps, 0).reshape(batch, -1))
    counted = real if targets.counted is None else real & targets.counted
    log_probs = jnp.where(counted, said.reshape(steps.shape), 0.0).sum(axis=-1)
    return log_probs, model.value_logit(params, ends), model.value_logit(params, prompt_end)

"""The loss on positions of self-play: the improved policy, and the return.

    - sum_a improved(a) log pi(a)  +  value_weight * value loss

Each position is seen from one of the sides that its game does not tell apart, drawn at random.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlsearch.environments.base import Environment
from rlsearch.networks.board_model import BoardModel, Params


class Positions(NamedTuple):
    """A minibatch of R positions."""

    state: Any
    policy: jax.Array  # [R, A] float32
    returns: jax.Array  # [R] float32
    age: jax.Array  # [R] int32, moves made in the same lane since


def position_losses(
    model: BoardModel,
    environment: Environment,
    params: Params,
    positions: Positions,
    keys: jax.Array,
    value_weight: float,
    symmetries: bool,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss `[]` float32, and `policy_loss` and `value_loss` (nats, or the squared error of a
    value that is no outcome), `policy_divergence` (of the policy from the improved one, nats),
    `value_error` (mean absolute error) and `replay_age` (moves)."""
    positions = jax.lax.stop_gradient(positions)
    observations = jax.vmap(environment.observe)(positions.state)
    legal, target = positions.state.legal_action_mask, positions.policy
    if symmetries:
        observations, legal, target = seen_from(environment, observations, legal, target, keys)
    logits, value_logits = model.heads(params, observations)
    log_policy = jax.nn.log_softmax(jnp.where(legal, logits, -1e9))
    policy_loss = -(target * log_policy).sum(axis=1).mean()
    entropy = -(target * jnp.log(jnp.maximum(target, 1e-20))).sum(axis=1).mean()
    value_loss = model.value_loss(value_logits, positions.returns).mean()
    metrics = {
        "policy_loss": policy_loss,
        "policy_divergence": policy_loss - entropy,
        "value_loss": value_loss,
        "value_error": jnp.abs(model.value(value_logits) - positions.returns).mean(),
        "replay_age": positions.age.astype(jnp.float32).mean(),
    }
    return policy_loss + value_weight * value_loss, metrics


def seen_from(
    environment: Environment,
    observations: jax.Array,
    legal: jax.Array,
    policy: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Each position from one of its sides, drawn by its own key `[R]`: all three turned alike."""
    cells, actions = (jnp.asarray(table) for table in environment.symmetries)
    sides = cells.shape[0]
    side = jax.vmap(lambda key: jax.random.randint(key, (), 0, sides))(keys)
    flat = observations.reshape(observations.shape[0], -1, observations.shape[-1])
    turned = jnp.take_along_axis(flat, cells[side][:, :, None], axis=1)
    legal, policy = (jnp.take_along_axis(x, actions[side], axis=1) for x in (legal, policy))
    return turned.reshape(observations.shape), legal, policy

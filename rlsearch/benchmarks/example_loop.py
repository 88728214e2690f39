"""The loop of the AlphaZero example that ships with pgx, for benchmarks to be held against.

The example (`examples/alphazero/train.py` of pgx 2.6) no longer runs on today's JAX as it stands:
it needs `device_put_replicated`, Haiku and weights from the web. What it does is written out here.
Every iteration begins new games and plays 256 moves in each place, restarting games that are over,
the observation in every node of the tree; games still open at the end give no value target. All
positions are then learnt from once, in shuffled minibatches, by Adam at a constant rate.

Letters: T moves of an iteration, B places, R positions of a minibatch, A actions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx
import optax
import pgx
from pgx.experimental import auto_reset

from rlsearch.environments.base import game_name
from rlsearch.networks.board_model import BoardModel, Params

MOVES = 256  # T
LEARNING_RATE = 1e-3


class Samples(NamedTuple):
    """Positions of an iteration, `[T, B, ...]`, or of a minibatch, `[R, ...]`."""

    observation: jax.Array
    policy: jax.Array  # [..., A] float32
    value: jax.Array  # [...] float32, the outcome to who moves
    useful: jax.Array  # [...] bool, the outcome is known


def example_game(environment: Any) -> Any:
    """The game as the example has it.

    Raises:
        ValueError: if it is not one of pgx for two players.
    """
    name: Any = game_name(environment)
    game = pgx.make(name)
    if game.num_players != 2:
        raise ValueError(f"environment.game is {name!r}: the example plays for two players")
    return game


def example_self_play(
    game: Any, model: BoardModel, simulations: int, batch: int
) -> Callable[[Params, jax.Array], Samples]:
    """`(params, key) -> samples`: one iteration of play in `batch` places."""
    recurrent_output: Any = mctx.RecurrentFnOutput
    root_output: Any = mctx.RootFnOutput
    places = jnp.arange(batch)

    def recurrent_fn(params: Params, key: Any, action: Any, state: Any):
        mover = state.current_player
        state = jax.vmap(game.step)(state, action, jax.random.split(key, batch))
        logits, value = model.evaluate(params, state.observation)
        logits = jnp.where(state.legal_action_mask, logits, jnp.finfo(logits.dtype).min)
        output = recurrent_output(
            reward=state.rewards[places, mover],
            discount=jnp.where(state.terminated, 0.0, -1.0),
            prior_logits=logits,
            value=jnp.where(state.terminated, 0.0, value),
        )
        return output, state

    def iteration(params: Params, key: jax.Array) -> Samples:
        start_key, moves_key = jax.random.split(key)

        def move(state: Any, key: jax.Array):
            search_key, step_key = jax.random.split(key)
            logits, value = model.evaluate(params, state.observation)
            policy: Any = mctx.gumbel_muzero_policy(
                params=params,
                rng_key=search_key,
                root=root_output(prior_logits=logits, value=value, embedding=state),
                recurrent_fn=recurrent_fn,
                num_simulations=simulations,
                invalid_actions=~state.legal_action_mask,
                qtransform=mctx.qtransform_completed_by_mix_value,
            )
            mover, seen = state.current_player, state.observation
            step_keys = jax.random.split(step_key, batch)
            state = jax.vmap(auto_reset(game.step, game.init))(state, policy.action, step_keys)
            reward = state.rewards[places, mover]
            return state, (seen, policy.action_weights, reward, state.terminated)

        def outcome(later: jax.Array, inputs: tuple[jax.Array, jax.Array]):
            reward, terminated = inputs
            value = reward - jnp.where(terminated, 0.0, later)
            return value, value

        state = jax.vmap(game.init)(jax.random.split(start_key, batch))
        keys = jax.random.split(moves_key, MOVES)
        _, (observation, policy, reward, terminated) = jax.lax.scan(move, state, keys)
        _, value = jax.lax.scan(outcome, jnp.zeros(batch), (reward, terminated), reverse=True)
        useful = jnp.cumsum(terminated[::-1], axis=0)[::-1] >= 1
        return Samples(observation, policy, value, useful)

    return jax.jit(iteration)


class Learner(NamedTuple):
    """The parameters and states that the example trains."""

    params: Params
    moments: Any


def example_learning(model: BoardModel, batch_size: int) -> tuple[Callable, Callable]:
    """`start(params) -> learner` and `learn(learner, samples, key) -> learner`."""
    optimizer = optax.adam(LEARNING_RATE)

    def loss(params: Params, samples: Samples) -> jax.Array:
        logits, value = model.evaluate(params, samples.observation)
        policy_loss = optax.softmax_cross_entropy(logits, samples.policy).mean()
        return policy_loss + (optax.l2_loss(value, samples.value) * samples.useful).mean()

    @jax.jit
    def learn(learner: Learner, samples: Samples, key: jax.Array) -> Learner:
        count = samples.value.size
        order = jax.random.permutation(key, count)[: count // batch_size * batch_size]

        def update(learner: Learner, rows: jax.Array):
            some = jax.tree.map(lambda x: x.reshape(count, *x.shape[2:])[rows], samples)
            updates, moments = optimizer.update(
                jax.grad(loss)(learner.params, some), learner.moments, learner.params
            )
            return Learner(optax.apply_updates(learner.params, updates), moments), None

        return jax.lax.scan(update, learner, order.reshape(-1, batch_size))[0]

    return lambda params: Learner(params, optimizer.init(params)), learn

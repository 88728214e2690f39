"""Tree search whose actions are the moves of an environment (AlphaZero; Gumbel AlphaZero).

A node is a state of the environment without its observation, which is computed where the network
reads it. Values are to the player who moves at a node: going down an edge turns the sign where the
other player moves next, and leaves it where the same one goes on. Chance, where a game has it, is
drawn from the root's own keys: a search never knows what the real game will draw.

Letters: B roots, A actions.
"""

from typing import Any

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.environments.base import Environment
from rlsearch.keys import folded
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.search import mcts
from rlsearch.search.result import SearchResult


@jax.named_scope("search")
def search_moves(
    params: Params,
    keys: jax.Array,
    states: Any,
    environment: Environment,
    model: BoardModel,
    config: SearchConfig,
) -> SearchResult:
    """Searches from B states at once, none of which may be finished.

    Args:
        keys: `[B]` typed keys, one a root, consumed. A root's search depends on its own key alone.
        states: a batch of the environment's states.
    """
    noise_keys, chance_keys = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    counted = mcts.CountedLoop()

    def recurrent_fn(nothing: Any, key: Any, action: jax.Array, state: Any):
        del nothing, key
        step_keys = folded(chance_keys, counted.simulation)
        after = jax.vmap(environment.step)(state, action, step_keys)
        priors, value = evaluate(params, after, environment, model)
        same_player = after.player == state.player
        discount = environment.discount * jnp.where(same_player, 1.0, -1.0)
        output = mcts.recurrent_output(
            reward=after.reward,
            discount=jnp.where(after.terminated, 0.0, discount),
            prior_logits=priors,
            value=jnp.where(after.terminated, 0.0, value),
        )
        return output, after

    priors, value = evaluate(params, states, environment, model)
    root = mcts.root_output(prior_logits=priors, value=value, embedding=states)
    illegal = ~states.legal_action_mask
    tree = mcts.run(
        root,
        recurrent_fn,
        noise_keys,
        config,
        counted.loop,
        invalid_actions=illegal,
    )
    visits = tree.children_visits[:, 0]
    values = jnp.where(visits > 0, tree.qvalues(jnp.zeros_like(visits[:, 0])), 0.0)
    policy = mcts.improved_policy(tree, priors, illegal, config)
    # Sequential halving ends with the same number of visits for the moves that came through.
    most = visits == visits.max(axis=1, keepdims=True)
    action = jnp.argmax(jnp.where(most, policy, -1.0), axis=1)
    rows = jnp.arange(action.shape[0])
    return SearchResult(
        action=action,
        improved_policy=policy,
        action_value=values[rows, action],
        root_value=tree.node_values[:, 0],
        visit_counts=visits,
        action_values=values,
        tree=tree,
    )


def evaluate(
    params: Params, states: Any, environment: Environment, model: BoardModel
) -> tuple[jax.Array, jax.Array]:
    """Prior log-probabilities `[B, A]` of the legal moves, and values `[B]` to who moves."""
    logits, value = model.evaluate(params, jax.vmap(environment.observe)(states))
    legal = states.legal_action_mask
    logits = jax.nn.log_softmax(jnp.where(legal, logits, mcts.FORBIDDEN))
    return jnp.where(legal, logits, mcts.FORBIDDEN), value

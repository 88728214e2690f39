import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import TowerConfig
from rlsearch.networks.board_model import BoardModel
from rlsearch.objectives.positions import Positions, position_losses, seen_from
from rlsearch.parallel.mesh import row_keys
from tests.boards import pgx_game, play_out, stack

ROWS = 64
KEYS = row_keys(jax.random.key(0), ROWS)
WEIGHT = 0.5


def marked(game: str):
    """Many times one position: each cell and each action is marked with its own number."""
    environment = pgx_game(game)
    rows, columns, features = environment.observation_shape
    cells = jnp.arange(rows * columns, dtype=jnp.float32).reshape(rows, columns, 1)
    observations = jnp.broadcast_to(cells, (ROWS, rows, columns, features))
    policy = jnp.broadcast_to(jnp.arange(environment.num_actions, dtype=jnp.float32), (ROWS, 9))
    return environment, observations, policy


def test_what_is_seen_and_legal_and_wanted_is_turned_alike():
    environment, observations, policy = marked("tic_tac_toe")
    legal = policy % 3 == 0
    seen, legal, wanted = seen_from(environment, observations, legal, policy, KEYS)
    assert seen.shape == observations.shape
    # In tic-tac-toe an action is a cell.
    np.testing.assert_array_equal(seen[:, :, :, 0].reshape(ROWS, 9), wanted)
    np.testing.assert_array_equal(seen[:, :, :, 0], seen[:, :, :, 1])
    np.testing.assert_array_equal(legal, wanted % 3 == 0)
    sides = {row.tobytes() for row in np.asarray(wanted)}
    tables = {row.astype(np.float32).tobytes() for row in environment.symmetries[1]}
    assert sides == tables and len(sides) == 8


def test_the_side_is_drawn_from_a_rows_own_key():
    environment, observations, policy = marked("tic_tac_toe")
    one, again, other = (
        seen_from(environment, observations, policy > 0, policy, keys)[2]
        for keys in (KEYS, KEYS, row_keys(jax.random.key(1), ROWS))
    )
    np.testing.assert_array_equal(one, again)
    half = [x[:5] for x in (observations, policy > 0, policy, KEYS)]
    np.testing.assert_array_equal(seen_from(environment, *half)[2], one[:5])
    assert (np.asarray(one) != np.asarray(other)).any()


@pytest.fixture(scope="module")
def learning():
    """A model, parameters and positions to learn from."""
    environment = pgx_game("tic_tac_toe")
    config = TowerConfig(num_blocks=1, channels=4, value_dim=4)
    model = BoardModel(config, environment.observation_shape, environment.num_actions)
    openings = [[], [4], [0, 1], [8, 4, 2], [0, 3, 1, 4]]
    states = stack([play_out("tic_tac_toe", moves)[-1] for moves in openings])
    wanted = jax.nn.softmax(jax.random.normal(jax.random.key(1), (5, 9)), axis=1)
    wanted = jnp.where(states.legal_action_mask, wanted, 0.0)
    wanted /= wanted.sum(axis=1, keepdims=True)
    returns = jnp.array([0.0, 0.5, -1.0, 1.0, 0.2])
    positions = Positions(states, wanted, returns, jnp.arange(5))
    params = jax.jit(model.init)(jax.random.key(0))
    return environment, model, params, positions


def losses(learning, params, positions, symmetries=False, key=0):
    environment, model, _, _ = learning
    return position_losses(
        model, environment, params, positions, row_keys(jax.random.key(key), 5), WEIGHT, symmetries
    )


def test_the_loss_is_the_cross_entropies_of_policy_and_value(learning):
    environment, model, params, positions = learning
    loss, metrics = jax.jit(lambda p: losses(learning, p, positions))(params)
    observations = jax.vmap(environment.observe)(positions.state)
    logits, value_logits = jax.jit(model.heads)(params, observations)
    policy, value, entropy = 0.0, 0.0, 0.0
    for row in range(5):
        legal = np.flatnonzero(positions.state.legal_action_mask[row])
        wanted = np.asarray(positions.policy)[row, legal]
        log_policy = np.asarray(jax.nn.log_softmax(logits[row, legal]))
        policy += -(wanted * log_policy).sum() / 5
        entropy += -(wanted * np.log(wanted)).sum() / 5
        value += float(model.value_loss(value_logits[row], positions.returns[row])) / 5
    np.testing.assert_allclose(metrics["policy_loss"], policy, rtol=1e-5)
    np.testing.assert_allclose(metrics["value_loss"], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["policy_divergence"], policy - entropy, atol=1e-5)
    np.testing.assert_allclose(loss, policy + WEIGHT * value, rtol=1e-5)
    error = np.abs(np.asarray(model.value(value_logits)) - positions.returns).mean()
    np.testing.assert_allclose(metrics["value_error"], error, rtol=1e-5)
    assert metrics["replay_age"] == 2.0


def test_nothing_flows_back_into_the_targets(learning):
    _, _, params, positions = learning

    def loss(policy, returns, params):
        return losses(learning, params, positions._replace(policy=policy, returns=returns))[0]

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    policy, returns, learnt = gradient(positions.policy, positions.returns, params)
    assert not policy.any() and not returns.any()
    assert all(leaf.any() for leaf in jax.tree.leaves(learnt)[-2:])


def test_seen_from_other_sides_the_loss_is_another_but_as_finite(learning):
    _, _, params, positions = learning
    run = jax.jit(lambda key: losses(learning, params, positions, True, key)[1]["policy_loss"])
    found = {float(run(key)) for key in range(4)}
    assert len(found) > 1 and all(0 < value < 10 for value in found)  # an illegal one costs 1e9

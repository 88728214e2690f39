import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import ParallelConfig, SearchConfig, ShardingRules, TowerConfig
from rlsearch.networks.board_model import BoardModel
from rlsearch.parallel.mesh import make_mesh, over_data, row_keys
from rlsearch.parallel.sharding import gathered, param_shardings
from rlsearch.planning.collectives import collectives, num_loops
from rlsearch.search.moves import search_moves
from rlsearch.stages.games import found_value
from tests.boards import TURNS, TWICE, DiceGame, NoKnowledge, TableGame, pgx_game, play_out, stack
from tests.toy import perturbed

POLICIES = pytest.mark.parametrize("policy", ["gumbel", "puct"])
BASE = SearchConfig(actions="moves", num_simulations=200, num_candidates=9, value_scale=0.5)


@functools.cache
def program(environment, model, config):
    return jax.jit(lambda *x: search_moves(*x, environment, model, config))


def searched(environment, model, params, states, config, seed=0):
    keys = row_keys(jax.random.key(seed), len(states.player))
    return program(environment, model, config)(params, keys, states)


WINS = {(0, 3, 1, 4): 2, (0, 3, 1, 4, 8): 5, (4, 0, 2, 6, 5): 3, (6, 0, 4, 3): 2}
BLOCKS = {(0, 4, 1): 2, (4, 0, 6): 2, (0, 8, 3): 6, (4, 8, 3): 5, (0, 1, 8, 4): 7}
OPENINGS = {**WINS, **BLOCKS}


@pytest.fixture(scope="module")
def tic_tac_toe():
    environment = pgx_game("tic_tac_toe")
    config = TowerConfig(num_blocks=1, channels=4, value_dim=4)
    model = BoardModel(config, environment.observation_shape, environment.num_actions)
    states = stack([play_out("tic_tac_toe", moves)[-1] for moves in OPENINGS])
    return environment, model, jax.jit(model.init)(jax.random.key(0)), states


MESHES = [(1, 1, 1), (1, 8, 1), (1, 2, 4)]  # replica, data, model


@pytest.fixture(scope="module", params=["gumbel", "puct"])
def found(request, tic_tac_toe):
    environment, model, params, states = tic_tac_toe
    config = dataclasses.replace(BASE, policy=request.param)
    return states, searched(environment, model, params, states, config)


def test_a_win_is_taken_and_a_loss_is_blocked_without_any_training(found):
    _, result = found
    assert result.action.tolist() == list(OPENINGS.values())
    assert np.argmax(result.improved_policy, axis=1).tolist() == list(OPENINGS.values())


def test_a_move_that_wins_is_worth_exactly_one(found):
    _, result = found
    for row, (moves, action) in enumerate(OPENINGS.items()):
        if moves in WINS:
            assert result.action_values[row, action] == 1.0 and result.action_value[row] == 1.0


def test_illegal_moves_have_no_part_in_a_search(found):
    states, result = found
    illegal = ~np.asarray(states.legal_action_mask)
    assert illegal.any(axis=1).all()
    assert (np.asarray(result.improved_policy)[illegal] == 0.0).all()
    assert (np.asarray(result.visit_counts)[illegal] == 0).all()
    assert (np.asarray(result.action_values)[illegal] == 0.0).all()
    np.testing.assert_allclose(result.improved_policy.sum(axis=1), 1.0, atol=1e-5)
    assert (result.visit_counts.sum(axis=1) == BASE.num_simulations).all()


def illegal_visits(tree) -> int:
    """Visits, anywhere in the trees, of moves that are illegal where they were made."""
    legal = np.asarray(tree.embeddings.legal_action_mask)
    real = np.asarray(tree.node_visits) > 0
    return int((np.asarray(tree.children_visits) * (~legal & real[:, :, None])).sum())


@POLICIES
def test_no_illegal_move_is_tried_below_the_root_either(tic_tac_toe, policy):
    environment, _, _, states = tic_tac_toe
    hopeful = NoKnowledge(environment, value=0.9)  # what is tried disappoints
    config = dataclasses.replace(BASE, policy=policy)
    result = searched(environment, hopeful, {}, states, config)
    assert illegal_visits(result.tree) == 0


@POLICIES
@pytest.mark.parametrize("players", [TURNS, TWICE])
def test_values_have_the_right_sign_at_every_depth(players, policy):
    game = TableGame(players)
    paths = game.nodes()
    exact = np.array([game.minimax(path) for path in paths])
    states = stack([game.state(path) for path in paths])
    config = dataclasses.replace(BASE, policy=policy, num_candidates=3)
    result = searched(game, NoKnowledge(game), {}, states, config)
    np.testing.assert_allclose(found_value(result), exact, atol=0.3)
    if policy == "puct":  # sequential halving visits the losing moves as often at first
        np.testing.assert_allclose(result.root_value, exact, atol=0.3)
    compared = set()
    for row, path in enumerate(paths):
        action = int(result.action[row])
        assert game.outcome((*path, action)) == exact[row]
        np.testing.assert_allclose(result.action_value[row], exact[row], atol=0.3)
        for other in np.flatnonzero(game.legal(path)):
            outcome, value = game.outcome((*path, other)), result.action_values[row, other]
            if result.visit_counts[row, other] >= 20:
                np.testing.assert_allclose(value, outcome, atol=0.45)
                compared.add((len(path), outcome))
            if len(path) == game.depth - 1:
                assert value in (0.0, outcome)  # 0 where it was not visited
    assert compared >= {(depth, outcome) for depth in (1, 2, 3) for outcome in (-1.0, 1.0)}


def test_a_reward_further_off_is_worth_less():
    game = TableGame(TURNS)
    game.discount = 0.5
    states = stack([game.state(path) for path in ((), (0,), (0, 0), (0, 0, 0))])
    config = dataclasses.replace(BASE, policy="puct", num_candidates=3)
    result = searched(game, NoKnowledge(game), {}, states, config)
    exact = [game.minimax(path) for path in ((), (0,), (0, 0), (0, 0, 0))]
    expected = np.array(exact) * 0.5 ** np.array([3, 2, 1, 0])
    np.testing.assert_allclose(result.action_value, expected, atol=0.15)


MESHES = [(1, 1, 1), (1, 8, 1), (1, 2, 4)]  # replica, data, model


@pytest.fixture(scope="module", params=["gumbel", pytest.param("puct", marks=pytest.mark.slow)])
def programs(request, tic_tac_toe):
    """A search from 16 roots, compiled for some meshes, and its arguments."""
    environment, model, params, states = tic_tac_toe
    params = perturbed(params)
    states = jax.tree.map(lambda x: jnp.resize(x, (16, *x.shape[1:])), states)
    config = SearchConfig(
        policy=request.param,
        actions="moves",
        num_simulations=12,
        num_candidates=4,
        dirichlet_fraction=0.25,
    )
    keys, compiled = row_keys(jax.random.key(0), len(states.player)), {}
    for sizes in MESHES:
        mesh = make_mesh(ParallelConfig(*sizes))
        shardings = param_shardings(model.logical_axes(), params, mesh, ShardingRules())

        def run(params, keys, states, mesh=mesh, shardings=shardings):
            params = jax.lax.with_sharding_constraint(params, gathered(shardings))
            search = over_data(mesh, lambda *x: search_moves(*x, environment, model, config))
            return search(params, keys, states)

        placed = jax.device_put(params, shardings)
        compiled[sizes] = mesh, jax.jit(run).lower(placed, keys, states).compile()
    return compiled, (params, keys, states)


def test_the_search_does_not_depend_on_how_roots_are_split(programs):
    compiled, (params, keys, states) = programs
    results = {}
    for sizes, (_, program) in compiled.items():
        shardings = program.input_shardings[0]
        results[sizes] = program(*jax.device_put((params, keys, states), shardings))
    whole = results.pop(MESHES[0])
    for split in results.values():
        np.testing.assert_array_equal(whole.action, split.action)
        np.testing.assert_array_equal(whole.visit_counts, split.visit_counts)
        np.testing.assert_allclose(whole.improved_policy, split.improved_policy, atol=1e-5)
        np.testing.assert_allclose(whole.action_values, split.action_values, atol=1e-5)
    first, second = whole.visit_counts[:7], whole.visit_counts[9:]  # with other keys
    assert (np.asarray(first) != np.asarray(second)).any()


def test_a_search_never_waits_for_another_device(programs):
    compiled, _ = programs
    for sizes, (mesh, program) in compiled.items():
        text = program.as_text()
        assert f"num_partitions={mesh.size}" in text or mesh.size == 1
        assert num_loops(text) >= 2  # simulations, the way down the tree
        inside = {c.axes for c in collectives(text, mesh) if c.loops}
        assert inside == ({("model",)} if sizes[2] > 1 else set())


@pytest.fixture(scope="module")
def dice():
    """A search of a game of chance from six equal roots, as a function of the seed."""
    game = DiceGame()
    model, states = NoKnowledge(game), stack([game.state(())] * 6)
    config = SearchConfig(actions="moves", num_simulations=12, num_candidates=3, gumbel_scale=0.0)
    return lambda seed: searched(game, model, {}, states, config, seed)


def test_chance_belongs_to_the_key_of_a_root(dice):
    one, again, other = dice(0), dice(0), dice(1)
    np.testing.assert_array_equal(one.action_values, again.action_values)
    np.testing.assert_array_equal(one.visit_counts, again.visit_counts)
    assert (np.asarray(one.action_values) != np.asarray(other.action_values)).any()
    assert len({row.tobytes() for row in np.asarray(one.action_values)}) > 1


def test_chance_is_drawn_anew_in_every_simulation(dice):
    for rewards in np.asarray(dice(0).tree.children_rewards):
        assert {-1.0, 0.0, 1.0} == set(rewards.ravel().tolist())

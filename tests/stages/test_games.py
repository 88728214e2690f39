import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import SearchConfig
from rlsearch.environments.base import finished
from rlsearch.parallel.mesh import row_keys
from rlsearch.search.moves import search_moves
from rlsearch.stages.games import found_value, new_game, play
from rlsearch.stages.self_play import SelfPlay
from tests.boards import TWICE, NoKnowledge, OneGoodMove, TableGame, pgx_game, same

GAMES, MOVES = 8, 6
SEARCH = SearchConfig(actions="moves", policy="puct", num_simulations=60, num_candidates=3)


@functools.cache
def player(environment, search=SEARCH, **fields):
    """`play` of a network that knows nothing, and games to begin with."""
    config = SelfPlay(search=search, moves_per_step=MOVES, replay_moves=MOVES, **fields)
    model = NoKnowledge(environment)
    states = jax.vmap(lambda key: new_game(environment, key, config.random_opening))(keys(100))
    return jax.jit(lambda s, k: play({}, s, k, environment, model, config)), states


def keys(seed: int):
    return row_keys(jax.random.key(seed), GAMES)


def at(tree, lane: int, move: int):
    return jax.tree.map(lambda x: np.asarray(x)[lane, move], tree)


GAME = TableGame(TWICE)


@pytest.fixture(scope="module")
def two_steps():
    """The games in progress behind each of two steps, and the moves and metrics of both."""
    run, states = player(GAME)
    first = run(states, keys(0))
    return first, run(first[0], keys(1))


def test_games_go_on_from_step_to_step(two_steps):
    (states, _, _), (_, moves, _) = two_steps
    assert same(jax.tree.map(lambda x: x[:, 0], moves.state), states)
    assert len(set(np.asarray(states.moves).tolist()) - {0}) > 0  # games are in progress


def test_a_finished_game_makes_room_for_a_new_one(two_steps):
    for states, moves, metrics in two_steps:
        ends = 0
        for lane in range(GAMES):
            for number in range(MOVES):
                state = at(moves.state, lane, number)
                later = at(moves.state, lane, number + 1) if number + 1 < MOVES else None
                after = (
                    jax.tree.map(lambda x, lane=lane: x[lane], states) if later is None else later
                )
                ended = int(state.moves) == GAME.depth - 1
                assert int(after.moves) == (0 if ended else int(state.moves) + 1)
                assert not finished(state) and not finished(after)
                ends += ended
        np.testing.assert_allclose(metrics["ends"].mean(), ends / (GAMES * MOVES), rtol=1e-5)
        np.testing.assert_allclose(metrics["decisions"], metrics["ends"])  # nothing is drawn here


def test_only_legal_moves_are_made_and_taught(two_steps):
    for _, moves, _ in two_steps:
        for lane in range(GAMES):
            for number in range(MOVES):
                state = at(moves.state, lane, number)
                path = tuple(state.path[state.path >= 0].tolist())
                legal = GAME.legal(path)
                np.testing.assert_array_equal(state.legal_action_mask, legal)
                assert (at(moves.policy, lane, number)[~legal] == 0.0).all()
                assert all(GAME.legal(path[:end])[path[end]] for end in range(len(path)))
        np.testing.assert_allclose(moves.policy.sum(axis=2), 1.0, atol=1e-5)


def test_discounts_and_rewards_are_those_of_who_moved(two_steps):
    seen = set()
    for _, moves, _ in two_steps:
        for lane in range(GAMES):
            for number in range(MOVES):
                state, reward = at(moves.state, lane, number), float(moves.reward[lane, number])
                made, discount = int(state.moves), float(moves.discount[lane, number])
                assert discount == [1.0, -1.0, 1.0, 0.0][made]
                if made == GAME.depth - 1:
                    path = tuple(state.path[:-1].tolist())
                    outcomes = {GAME.outcome((*path, a)) for a in np.flatnonzero(GAME.legal(path))}
                    assert reward in outcomes
                else:
                    assert reward == 0.0
                seen.add((discount, reward))
        assert not moves.truncated.any()
    assert seen >= {(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0)}


def test_moves_are_drawn_from_the_improved_policy_by_each_lanes_own_key(two_steps):
    (_, moves, _), _ = two_steps
    opening = np.asarray(moves.state.path[:, 1, 0])
    assert len(set(opening.tolist())) > 1  # all lanes began alike
    run, states = player(GAME)
    other = run(states, keys(0).at[0].set(jax.random.key(77)))[1]
    for one, two in zip(jax.tree.leaves(moves), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(one[1:], two[1:])


def test_behind_the_moves_of_temperature_the_best_is_played():
    run, states = player(GAME, temperature_moves=0)
    _, moves, _ = run(states, keys(0))
    assert len({row.tobytes() for row in np.asarray(moves.state.path[:, GAME.depth - 1])}) == 1
    search = jax.jit(lambda s: search_moves({}, keys(5), s, GAME, NoKnowledge(GAME), SEARCH))
    for number in range(GAME.depth - 1):
        here = jax.tree.map(lambda x, number=number: x[:, number], moves.state)
        result = search(here)  # without noise a key has no say
        np.testing.assert_array_equal(moves.state.path[:, number + 1, number], result.action)
        np.testing.assert_allclose(moves.policy[:, number], result.improved_policy, atol=1e-5)
        np.testing.assert_allclose(moves.value[:, number], found_value(result), atol=1e-5)


def test_by_default_nobody_gives_up_though_more_than_a_game_is_lost():
    class Lost(NoKnowledge):
        def evaluate(self, params, observations):
            logits, _ = super().evaluate(params, observations)
            return logits, jnp.full((observations.shape[0],), -3.0)

    config = SelfPlay(search=SEARCH, moves_per_step=MOVES, replay_moves=MOVES)
    states = jax.vmap(lambda key: new_game(GAME, key, 0))(keys(100))
    _, moves, _ = jax.jit(lambda s, k: play({}, s, k, GAME, Lost(GAME), config))(states, keys(0))
    assert (moves.value < -1.0).any()
    ended = moves.state.moves == GAME.depth - 1
    np.testing.assert_array_equal(moves.discount == 0.0, ended)


def test_who_is_worth_too_little_gives_up():
    run, states = player(GAME, resign_below=-0.5)
    _, moves, metrics = run(states, keys(0))
    resigned = set()
    for lane in range(GAMES):
        for number in range(MOVES - 1):
            state, later = at(moves.state, lane, number), at(moves.state, lane, number + 1)
            reward, discount = moves.reward[lane, number], moves.discount[lane, number]
            if GAME.minimax(tuple(state.path[state.path >= 0].tolist())) < 0:
                assert (reward, discount) == (-1.0, 0.0)
                assert later.moves == 0
                resigned.add(int(state.moves))
            else:
                assert reward != -1.0
                assert (later.moves == 0) == (discount == 0.0)
    assert resigned
    over = (np.asarray(moves.discount) == 0.0).mean(axis=1)
    np.testing.assert_allclose(metrics["ends"], over, rtol=1e-5)
    np.testing.assert_allclose(metrics["decisions"], over, rtol=1e-5)


@pytest.mark.parametrize("scale", [None, 0.25])
def test_who_gives_up_loses_a_game_of_its_own_scale(scale):
    game = TableGame(TWICE)
    if scale is not None:
        game.reward_scale = scale
    model, few = NoKnowledge(game), SearchConfig(actions="moves", num_simulations=1)
    config = SelfPlay(search=few, moves_per_step=1, replay_moves=1, resign_below=0.99)
    states = jax.vmap(game.reset)(keys(0))
    moves = jax.jit(lambda s, k: play({}, s, k, game, model, config))(states, keys(0))[1]
    np.testing.assert_array_equal(moves.reward, -(scale or 1.0))
    np.testing.assert_array_equal(moves.discount, 0.0)


def test_a_won_position_is_not_given_up():
    game = OneGoodMove()
    search = SearchConfig(actions="moves", num_simulations=32, num_candidates=16, value_scale=0.5)
    run, states = player(game, search, resign_below=-0.5, temperature_moves=0)
    moves = run(states, keys(0))[1]
    np.testing.assert_array_equal(jnp.argmax(moves.policy, axis=2), game.good)
    assert float(moves.value.min()) > 0.9
    np.testing.assert_array_equal(moves.reward, 1.0)


def test_a_game_that_is_broken_off_is_said_to_be_so():
    run, states = player(TableGame(TWICE, max_moves=3))
    after, moves, metrics = run(states, keys(0))
    made = np.asarray(moves.state.moves)
    np.testing.assert_array_equal(made, np.tile([0, 1, 2, 0, 1, 2], (GAMES, 1)))
    np.testing.assert_array_equal(moves.truncated, made == 2)
    np.testing.assert_array_equal(moves.reward, 0.0)
    np.testing.assert_array_equal(moves.discount, np.array([1.0, -1.0, 1.0])[made])
    np.testing.assert_allclose(metrics["ends"], 1 / 3, rtol=1e-5)
    np.testing.assert_array_equal(metrics["decisions"], 0.0)
    assert not after.moves.any()


@pytest.mark.parametrize("limit", [0, 3, 12])
def test_a_new_game_begins_behind_some_random_moves_and_is_never_over(limit):
    many = row_keys(jax.random.key(3), 300)
    states = jax.jit(jax.vmap(lambda key: new_game(GAME, key, limit)))(many)
    made = np.asarray(states.moves)
    assert set(made.tolist()) == set(range(min(limit, GAME.depth - 1) + 1))
    assert not finished(states).any() and not states.reward.any()
    paths = np.asarray(states.path)
    for path in {tuple(row[row >= 0].tolist()) for row in paths}:
        assert all(GAME.legal(path[:end])[path[end]] for end in range(len(path)))
    if limit == 3:
        assert len({row.tobytes() for row in paths[made == 3]}) > 5
        np.testing.assert_allclose(np.bincount(made) / 300, 0.25, atol=0.1)


def test_openings_of_tic_tac_toe_are_legal_positions():
    environment = pgx_game("tic_tac_toe")
    many = row_keys(jax.random.key(0), 200)
    states = jax.jit(jax.vmap(lambda key: new_game(environment, key, 9)))(many)
    assert not finished(states).any() and not states.reward.any()
    np.testing.assert_array_equal(states.legal_action_mask.sum(axis=1), 9 - states.moves)

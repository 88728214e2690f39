import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pgx import play2048

from rlsearch.environments.base import finished
from rlsearch.environments.pgx_game import ONE_PLAYER, TWO_PLAYERS
from rlsearch.environments.symmetries import TURNS, symmetries
from tests.boards import jitted

# How many of a game's symmetries leave its start as it is.
START = {"tic_tac_toe": 8, "connect_four": 2, "othello": 4, "go_9x9": 8, "hex": 2}
SIZES = {"tic_tac_toe": 8, "connect_four": 2, "othello": 8, "go_9x9": 8, "hex": 2, "2048": 8}


def turned(observation, cells) -> np.ndarray:
    seen = np.asarray(observation)
    return seen.reshape(-1, seen.shape[-1])[cells].reshape(seen.shape)


def turned_game_agrees(game: str, cells, actions, moves: int, seed: int, opening=()) -> bool:
    """Plays at random, and the same game turned; compares what is seen and what is legal."""
    _, reset, step, observe = jitted(game)
    where = np.argsort(actions)  # where each action of the old sight is found in the new
    random, key = np.random.default_rng(seed), jax.random.key(seed)
    state = mirror = reset(key)
    for number in range(moves):
        action = random.choice(np.flatnonzero(state.legal_action_mask))
        action = opening[number] if number < len(opening) else action
        state = step(state, jnp.int32(action), key)
        mirror = step(mirror, jnp.int32(where[action]), key)
        if finished(state):
            return bool(finished(mirror)) and state.reward == mirror.reward
        legal = np.asarray(state.legal_action_mask)[actions]
        if not np.array_equal(turned(observe(state), cells), observe(mirror)):
            return False
        if not np.array_equal(legal, mirror.legal_action_mask) or finished(mirror):
            return False
    return True


@pytest.mark.parametrize(
    "game", [pytest.param(game, marks=[pytest.mark.slow] * (game == "go_9x9")) for game in START]
)
def test_a_turned_game_is_seen_turned(game):
    environment, reset, _, observe = jitted(game)
    start = reset(jax.random.key(0))
    found = 0
    for cells, actions in zip(*environment.symmetries, strict=True):
        if not np.array_equal(turned(observe(start), cells), observe(start)):
            continue
        if not np.array_equal(
            np.asarray(start.legal_action_mask)[actions], start.legal_action_mask
        ):
            continue
        found += 1
        assert all(turned_game_agrees(game, cells, actions, moves=40, seed=seed) for seed in (0, 1))
    assert found == START[game]


def test_the_turns_that_change_the_start_of_othello_are_symmetries_too():
    environment, reset, step, observe = jitted("othello")
    state, random, key = reset(jax.random.key(0)), np.random.default_rng(0), jax.random.key(0)
    for _ in range(12):
        action = random.choice(np.flatnonzero(state.legal_action_mask))
        state = step(state, jnp.int32(action), key)
    action = random.choice(np.flatnonzero(state.legal_action_mask))
    after = step(state, jnp.int32(action), key)
    for cells, actions in zip(*environment.symmetries, strict=True):
        inner = state.game._x
        other = state.game.replace(
            _x=inner._replace(board=inner.board[cells]),
            legal_action_mask=state.legal_action_mask[actions],
        )
        action_there = jnp.int32(np.argsort(actions)[action])
        mirror = step(state._replace(game=other), action_there, key)
        np.testing.assert_array_equal(turned(observe(after), cells), observe(mirror))
        np.testing.assert_array_equal(after.legal_action_mask[actions], mirror.legal_action_mask)


def test_swapping_sides_in_hex_is_turned_too():
    tables = (table[1] for table in jitted("hex")[0].symmetries)
    assert turned_game_agrees("hex", *tables, moves=10, seed=0, opening=(13, 121))


def test_a_wrong_turn_is_noticed():
    cells, actions = symmetries("connect_four", 6, 7, 7)
    assert turned_game_agrees("connect_four", cells[1], actions[1], moves=20, seed=0)
    assert not turned_game_agrees("connect_four", cells[1], actions[0], moves=20, seed=0)


def test_a_turned_board_of_2048_has_its_moves_turned():
    environment, reset, step, observe = jitted("2048")
    random, key = np.random.default_rng(0), jax.random.key(0)
    legal_moves = jax.jit(lambda board: play2048._legal_action_mask(board.reshape(4, 4)))
    start, illegal = reset(key), 0

    def at(board):
        board = jnp.array(board, jnp.int32)
        game = start.game.replace(_board=board, legal_action_mask=legal_moves(board))
        return start._replace(game=game)

    for _ in range(5):
        board = random.integers(1, 4, 16) * (random.random(16) < 0.4)
        state = at(board)
        after = [step(state, jnp.int32(action), key).reward for action in range(4)]
        illegal += int((~state.legal_action_mask).sum())
        for cells, actions in zip(*environment.symmetries, strict=True):
            other = at(board[cells])
            np.testing.assert_array_equal(turned(observe(state), cells), observe(other))
            np.testing.assert_array_equal(state.legal_action_mask[actions], other.legal_action_mask)
            for action in range(4):
                assert step(other, jnp.int32(action), key).reward == after[actions[action]]
    assert illegal > 0


@pytest.mark.parametrize("game", sorted({*TWO_PLAYERS, *ONE_PLAYER}))
def test_the_identity_comes_first_and_all_are_permutations(game):
    cells, actions = symmetries(game, 4, 4, 4 if game in ("2048", "connect_four") else 17)
    assert len(cells) == len(actions) == SIZES.get(game, 8 if game == "go_19x19" else 1)
    assert len(TURNS.get(game, [None])) == len(cells)
    for table in (cells, actions):
        assert table.dtype == np.int32
        np.testing.assert_array_equal(table[0], np.arange(table.shape[1]))
        np.testing.assert_array_equal(np.sort(table, axis=1), np.tile(table[0], (len(table), 1)))
        assert len({row.tobytes() for row in table}) == len(table)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.environments.base import finished
from rlsearch.environments.pgx_game import ONE_PLAYER, TWO_PLAYERS
from tests.boards import jitted, pgx_game, play_out, same

SHAPES = {
    "tic_tac_toe": (3, 3, 2),
    "connect_four": (6, 7, 2),
    "othello": (8, 8, 2),
    "hex": (11, 11, 4),
    "2048": (4, 4, 31),
}
SLOW_SHAPES = {
    "go_9x9": (9, 9, 17),
    "animal_shogi": (4, 3, 194),
    "backgammon": (1, 1, 34),
    "minatar-breakout": (10, 10, 4),
}
REST = sorted({*TWO_PLAYERS, *ONE_PLAYER} - {*SHAPES, *SLOW_SHAPES})


def random_play(game: str, moves: int, seed: int = 0, **fields):
    """The states in front of and behind some random legal moves."""
    _, reset, step, _ = jitted(game, **fields)
    random, states = np.random.default_rng(seed), [reset(jax.random.key(seed))]
    for number in range(moves):
        legal = np.flatnonzero(states[-1].legal_action_mask)
        key = jax.random.key(number)
        states.append(step(states[-1], jnp.int32(random.choice(legal)), key))
    return states


def check_contract(game: str, shape: tuple[int, ...] | None):
    environment, _, step, observe = jitted(game, max_moves=2, reward_scale=0.5)
    first, _, last, after = random_play(game, 3, max_moves=2, reward_scale=0.5)
    rows, columns, features = environment.observation_shape
    seen = observe(last)
    assert seen.shape == (rows, columns, features) and seen.dtype == jnp.float32
    assert shape is None or shape == seen.shape
    assert first.game.observation.size == 1 and last.game.observation.size == 1
    for state in (first, last):
        assert state.legal_action_mask.shape == (environment.num_actions,)
        assert state.reward.dtype == jnp.float32 and state.player in (0, 1)
        assert bool(state.legal_action_mask.any())
    assert [int(first.moves), int(last.moves)] == [0, 2]
    assert bool(last.truncated) and not last.terminated and finished(last)
    assert same(after, last._replace(reward=jnp.float32(0.0)))
    cells, actions = environment.symmetries
    assert (
        cells.shape[1:] == (rows * columns,) and actions.shape[1:] == first.legal_action_mask.shape
    )


@pytest.mark.parametrize(("game", "shape"), SHAPES.items())
def test_a_game_is_as_the_contract_says(game, shape):
    check_contract(game, shape)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "shape"), [*SLOW_SHAPES.items(), *((game, None) for game in REST)]
)
def test_a_game_that_compiles_long_is_as_the_contract_says(game, shape):
    check_contract(game, shape)


WON = {"tic_tac_toe": [0, 3, 1, 4, 2], "connect_four": [0, 1, 0, 1, 0, 1, 0]}
WON_BY_THE_SECOND = {"tic_tac_toe": [0, 3, 1, 4, 8, 5], "connect_four": [6, 0, 1, 0, 1, 0, 1, 0]}


@pytest.mark.parametrize("actions", [WON, WON_BY_THE_SECOND])
@pytest.mark.parametrize("game", WON)
def test_who_makes_the_winning_move_gets_the_reward(game, actions):
    beginners = set()
    for key in range(6):
        *before, last = play_out(game, actions[game], key)
        beginners.add(int(before[0].player))
        assert last.reward == 1.0 and last.terminated and not last.truncated
        assert all(state.reward == 0.0 and not finished(state) for state in before)
        players = [int(state.player) for state in before]
        assert players == [(players[0] + turn) % 2 for turn in range(len(players))]
    assert beginners == {0, 1}


def test_a_draw_is_worth_nothing():
    last = play_out("tic_tac_toe", [0, 1, 2, 4, 3, 5, 7, 6, 8])[-1]
    assert last.terminated and last.reward == 0.0


@pytest.mark.parametrize("game", WON)
def test_a_step_behind_the_end_changes_nothing(game):
    _, _, step, _ = jitted(game)
    ended = play_out(game, WON[game])[-1]
    for action in (0, 5, 6):  # of which some were legal before
        after = step(ended, jnp.int32(action), jax.random.key(1))
        assert same(after, ended._replace(reward=jnp.float32(0.0)))
        assert ended.reward == 1.0 and after.reward == 0.0


def test_a_game_is_broken_off_behind_so_many_moves():
    states = play_out("tic_tac_toe", [0, 3, 1, 4], max_moves=3)
    assert [bool(state.truncated) for state in states] == [False, False, False, True, True]
    assert not any(state.terminated for state in states)
    assert same(states[4], states[3])


def test_a_game_that_ends_with_its_last_move_is_not_broken_off():
    last = play_out("tic_tac_toe", WON["tic_tac_toe"], max_moves=5)[-1]
    assert last.terminated and not last.truncated and last.reward == 1.0


def test_rewards_are_scaled():
    assert play_out("tic_tac_toe", WON["tic_tac_toe"], reward_scale=0.25)[-1].reward == 0.25
    assert pgx_game("tic_tac_toe", reward_scale=0.25).reward_scale == 0.25


def test_chance_is_drawn_from_the_key():
    _, reset, step, observe = jitted("2048")
    state = reset(jax.random.key(0))
    action = jnp.argmax(state.legal_action_mask)
    after = [observe(step(state, action, jax.random.key(key))) for key in (0, 0, *range(1, 6))]
    assert same(after[0], after[1])
    assert any(not same(after[0], other) for other in after[2:])


def test_the_player_to_move_sees_his_own_stones_first():
    _, _, _, observe = jitted("tic_tac_toe")
    states = play_out("tic_tac_toe", [4, 0])
    assert observe(states[1])[1, 1].tolist() == [0.0, 1.0]
    assert observe(states[2])[1, 1].tolist() == [1.0, 0.0]
    assert observe(states[2])[0, 0].tolist() == [0.0, 1.0]


def test_an_unknown_game_is_refused_with_the_nearest():
    sentence = "game is 'conect_four': it must be .*; the nearest is connect_four"
    with pytest.raises(ValueError, match=sentence):
        pgx_game("conect_four")


@pytest.mark.parametrize("game", ["kuhn_poker", "leduc_holdem", "sparrow_mahjong"])
def test_games_with_hidden_information_are_refused(game):
    with pytest.raises(ValueError, match=f"PgxGame.game is '{game}': .*tic_tac_toe"):
        pgx_game(game)

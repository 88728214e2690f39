import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.arena.players import Player, random_player
from rlsearch.arena.returns import draw, mean_interval, play_games, spread
from tests.boards import DiceGame, OneGoodMove, TableGame


def always(action: int) -> Player:
    return Player("always", {}, lambda states, keys: jnp.full(keys.shape, action, jnp.int32))


def test_the_return_is_the_sum_of_a_games_rewards():
    game = OneGoodMove()
    for action, value in ((game.good, 1.0), (game.good + 1, -1.0)):
        returns, moves = play_games(game, always(action), 4, seed=0)
        assert returns.tolist() == [value] * 4 and moves.tolist() == [1] * 4
    returns, _ = play_games(game, random_player(), 256, seed=0)
    assert abs(returns.mean() - (2 / 16 - 1)) < 0.15


def test_every_game_is_played_to_its_end_by_keys_of_its_own():
    returns, moves = play_games(TableGame(players=(0, 0, 0, 0)), always(0), 4, seed=0)
    assert moves.tolist() == [4] * 4 and len(set(returns.tolist())) == 1
    rolled, _ = play_games(DiceGame(), always(0), 64, seed=1)
    assert 0.2 < (rolled > 0).mean() < 0.8  # chance differs from game to game
    again, _ = play_games(DiceGame(), always(0), 64, seed=1)
    other, _ = play_games(DiceGame(), always(0), 64, seed=2)
    np.testing.assert_array_equal(rolled, again)
    assert (rolled != other).any()


def test_intervals_hold_the_mean_as_often_as_they_say():
    samples = np.asarray(jax.random.exponential(jax.random.key(0), (400, 64)))
    inside = [low < 1.0 < high for low, high in map(mean_interval, samples)]
    assert 0.90 < np.mean(inside) < 0.98
    assert mean_interval(np.array([3.0])) == (-np.inf, np.inf)


@pytest.mark.parametrize("games", [2, 3, 8, 64])
def test_few_games_have_wider_intervals(games):
    samples = np.random.default_rng(0).normal(size=(2000, games))
    inside = [low < 0.0 < high for low, high in map(mean_interval, samples)]
    assert abs(np.mean(inside) - 0.95) < 0.02


@pytest.mark.parametrize("games", [1, 2, 8, 64, 10_000])
@pytest.mark.parametrize("value", [0.0, -3.5, 0.1, 1e9])
def test_games_alike_are_no_certainty(games, value):
    returns = np.full((games,), value, np.float32)
    assert mean_interval(returns) == (-np.inf, np.inf)
    said = spread(returns)
    if games == 1:
        assert said == "one game: no interval"
    else:
        most = float(said.partition("at most ")[2].partition("%")[0]) / 100
        assert said.startswith(f"all {games} alike: ")
        assert (1 - most) ** games == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("interval", [[0.5, 1.5], None])
def test_rows_become_a_picture(tmp_path, interval):
    row = {"strategy": "random", "seed": 0, "budget": 0, "mean_return": 1.0, "ci95": interval}
    draw([row, {**row, "strategy": "policy", "budget": 1}], tmp_path / "returns.png", "")
    assert (tmp_path / "returns.png").read_bytes().startswith(b"\x89PNG")

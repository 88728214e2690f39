from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.arena.elo import rate
from rlsearch.arena.players import Player, playout, random_player, rollout_player
from rlsearch.arena.tournament import Match, OpeningBook, is_for_two, tournament
from rlsearch.environments.pgx_game import PgxGame

PAIRS = 16
TIC_TAC_TOE = PgxGame(game="tic_tac_toe")
MCTS = rollout_player(TIC_TAC_TOE, 64)


class RaceState(NamedTuple):
    player: jax.Array
    moves: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    legal_action_mask: jax.Array


class Race:
    """Action 1 is a point for who moves, action 0 none; a die says who moves next."""

    num_actions = 2

    def __init__(self, length: int = 7, chance: float = 0.5, discount: float = 1.0):
        self.length, self.chance, self.discount = length, chance, discount

    def reset(self, key):
        no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
        first = jax.random.bernoulli(key).astype(jnp.int32)
        nothing, legal = jnp.zeros((), jnp.float32), jnp.ones((2,), bool)
        return RaceState(first, zero, nothing, no, no, legal)

    def step(self, state, action, key):
        other = jax.random.bernoulli(key, self.chance)
        after = state._replace(
            player=jnp.where(other, 1 - state.player, state.player),
            moves=state.moves + 1,
            reward=action.astype(jnp.float32),
            terminated=state.moves + 1 == self.length,
        )
        kept = state._replace(reward=jnp.zeros((), jnp.float32))
        return jax.tree.map(lambda x, y: jnp.where(state.terminated, x, y), kept, after)


def always(action: int) -> Player:
    return Player(f"always_{action}", {}, lambda states, keys: jnp.full_like(states.player, action))


def openings(environment: Any, moves: int, pairs: int = PAIRS, seed: int = 0):
    return OpeningBook(environment, moves).draw(jax.random.key(seed), pairs)


def behind(*actions: int) -> Any:
    """The position of tic-tac-toe behind some moves."""
    step = jax.jit(TIC_TAC_TOE.step)
    state = jax.jit(TIC_TAC_TOE.reset)(jax.random.key(0))
    for action in actions:
        state = step(state, jnp.int32(action), jax.random.key(0))
    return state


def test_openings_are_random_and_do_not_end_the_game():
    drawn = openings(TIC_TAC_TOE, 7, 64)  # most such games are over: it has to try again
    assert drawn.actions.shape == (64, 7) and not np.any(drawn.states.terminated)
    assert (np.asarray(drawn.states.moves) == 7).all()
    assert all(len(set(actions)) == 7 for actions in np.asarray(drawn.actions).tolist())
    assert len(np.unique(drawn.actions, axis=0)) > 50
    again = openings(TIC_TAC_TOE, 7, 64)
    np.testing.assert_array_equal(drawn.actions, again.actions)
    assert (np.asarray(openings(TIC_TAC_TOE, 7, 64, seed=1).actions) != drawn.actions).any()
    with pytest.raises(ValueError, match="opening_moves is 9: so many random moves end the game"):
        openings(TIC_TAC_TOE, 9)


def test_both_players_have_both_sides_of_every_opening():
    seen: dict[str, list] = {"first": [], "second": []}
    chooser = random_player().choose

    def watched(name):
        def choose(states, keys):
            seen[name].append(jax.tree.map(np.asarray, states))
            return chooser(states, keys)

        return Player(name, {}, choose)

    drawn = openings(TIC_TAC_TOE, 3)
    Match(TIC_TAC_TOE, PAIRS).play(watched("first"), watched("second"), drawn, jax.random.key(1))
    # Behind three moves it is for the one who did not begin: each player has all openings.
    one, other = seen["first"][0], seen["second"][0]
    for x, y, z in zip(*map(jax.tree.leaves, (one, other, drawn.states)), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(x, z)
    # The games go on with other keys: they are not each other's mirror.
    one, other = seen["first"][1], seen["second"][1]
    assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def test_points_go_to_who_made_them_however_often_one_moves():
    game, pairs = Race(), 64
    drawn, match = openings(game, 0, pairs), Match(game, pairs)
    good, bad = always(1), always(0)
    key = jax.random.key(0)
    won, lost = match.play(good, bad, drawn, key), match.play(bad, good, drawn, key)
    assert won.shape == (2, pairs) and won.min() >= 0.0 and won.mean() > 0.9
    # Who never is to move in a game wins nothing: row 0 is where the first player began.
    assert (won[0] == 1.0).all() and (won[1] == 0.0).any()
    np.testing.assert_array_equal(lost, -won[::-1])
    # The dice of both games of an opening are the same, so that equal players end even.
    even = match.play(good, good, drawn, key)
    assert np.abs(even).max() == 1.0
    np.testing.assert_array_equal(even[0], -even[1])


def test_games_without_an_end_are_drawn():
    game = Race(length=1000)
    outcomes = Match(game, 4, max_moves=20).play(
        always(1), always(0), openings(game, 2, 4), jax.random.key(0)
    )
    assert (outcomes == 0.0).all()


def test_a_game_for_one_is_told_from_a_game_for_two():
    assert is_for_two(Race(chance=0.2)) and not is_for_two(Race(chance=0.0))


def test_random_players_are_about_even():
    drawn, player = openings(TIC_TAC_TOE, 2, 64), random_player()
    outcomes = Match(TIC_TAC_TOE, 64).play(player, player, drawn, jax.random.key(0))
    assert set(np.unique(outcomes)) == {-1.0, 0.0, 1.0}
    assert abs(outcomes.mean()) < 0.25  # three standard errors
    assert outcomes[0].mean() - outcomes[1].mean() > 0.2  # who begins has the better of it


def test_a_playout_is_worth_what_random_moves_lead_to():
    def expected(state) -> float:
        """To who moves."""
        values = []
        for action in np.flatnonzero(state.legal_action_mask):
            after = step(state, jnp.int32(action), jax.random.key(0))
            values.append(float(after.reward) if after.terminated else -expected(after))
        return float(np.mean(values))

    step = jax.jit(TIC_TAC_TOE.step)
    values = jax.jit(jax.vmap(lambda s, k: playout(TIC_TAC_TOE, s, k), (None, 0)))
    keys = jax.random.split(jax.random.key(0), 1000)
    for actions in ((0, 4, 8, 2, 6), (0, 3, 1, 4, 8)):
        state = behind(*actions)
        sampled = np.asarray(values(state, keys))
        assert set(np.unique(sampled)) <= {-1.0, 0.0, 1.0}
        np.testing.assert_allclose(sampled.mean(), expected(state), atol=0.1)
    assert (np.asarray(values(behind(0, 3, 1, 4, 2), keys)) == 0.0).all()  # which is over


@pytest.mark.parametrize(("chance", "sign"), [(0.0, 1.0), (1.0, -1.0)])
def test_a_playout_is_discounted_and_knows_who_moves_twice(chance, sign):
    game = Race(length=3, chance=chance, discount=0.5)
    state = game.reset(jax.random.key(0))
    values = jax.vmap(lambda key: playout(game, state, key))(
        jax.random.split(jax.random.key(1), 99)
    )
    possible = {x + sign * y / 2 + z / 4 for x in (0, 1) for y in (0, 1) for z in (0, 1)}
    assert set(np.unique(values)) == possible


def test_a_plain_search_takes_a_win_and_stops_one():
    # In all of them 2 is the only good move: it wins at once, or stops a win.
    player = rollout_player(TIC_TAC_TOE, 256)
    positions = [behind(0, 3, 1, 4), behind(3, 0, 8, 1, 7), behind(0, 3, 1), behind(4, 0, 6)]
    states = jax.tree.map(lambda *x: jnp.stack([*x] * (PAIRS // len(x))), *positions)
    for seed in range(4):
        keys = jax.random.split(jax.random.key(seed), PAIRS)
        np.testing.assert_array_equal(player.choose(states, keys), 2)


def test_a_plain_search_learns_from_its_playouts():
    # No end is near: only playouts say that the centre is best, and they are drawn anew each time.
    states = jax.tree.map(lambda x: jnp.stack([x] * PAIRS), behind())
    keys = [jax.random.split(jax.random.key(seed), PAIRS) for seed in range(4)]
    centre = np.mean([np.asarray(MCTS.choose(states, some)) == 4 for some in keys])
    assert 0.25 < centre < 0.75


def test_a_plain_search_beats_random_moves_and_ratings_say_so():
    players = [random_player(), MCTS]
    outcomes = tournament(TIC_TAC_TOE, players, PAIRS, opening_moves=1)
    assert outcomes.shape == (2, 2, 2, PAIRS)
    assert np.isnan(outcomes[[0, 1], [0, 1]]).all()
    np.testing.assert_array_equal(outcomes[0, 1], -outcomes[1, 0, ::-1])
    assert outcomes[1, 0].mean() > 0.7 and (outcomes[1, 0].mean(axis=1) > 0.5).all()
    ratings = rate(np.nan_to_num((outcomes + 1) / 2).sum(axis=2), seed=0)
    assert ratings.elo(0)[1] > 250 and ratings.interval(0)[1, 0] > 100
    np.testing.assert_array_equal(outcomes, tournament(TIC_TAC_TOE, players, PAIRS, 1))
    assert not np.array_equal(
        outcomes[0, 1], tournament(TIC_TAC_TOE, players, PAIRS, 1, seed=1)[0, 1]
    )


def test_a_player_that_plays_itself_is_0_elo_within_its_interval():
    outcomes = tournament(TIC_TAC_TOE, [random_player(), random_player()], pairs=64)
    ratings = rate(np.nan_to_num((outcomes + 1.0) / 2.0).sum(axis=2), seed=0)
    low, high = ratings.interval(0)[1]
    assert low < 0.0 < high and high - low < 200.0

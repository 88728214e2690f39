import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.objectives.returns import lambda_returns
from rlsearch.stages.replay import add, ages, empty_replay

LANES, CAPACITY, PIECE = 3, 12, 3


def played(moves: int, seed: int):
    """Facts of random games: of one to six moves each, the order of the players random."""
    random = np.random.default_rng(seed)
    shape = (LANES, moves)
    facts = {
        "reward": np.zeros(shape, np.float32),
        "discount": np.float32(0.9) * random.choice([-1.0, 1.0], shape).astype(np.float32),
        "value": random.uniform(-1, 1, shape).astype(np.float32),
        "last": np.zeros(shape, bool),
    }
    for lane in range(LANES):
        end = -1
        while (end := end + random.integers(1, 7)) < moves - 1:
            if random.random() < 0.3:
                facts["last"][lane, end] = True
            else:
                facts["discount"][lane, end] = 0.0
                facts["reward"][lane, end] = random.choice([-1.0, 0.0, 1.0])
    return facts


def naive(facts, lane: int, at: int, lam: float) -> float:
    """The return of one position, by the definition, with all that has been played behind it."""
    value, newest = facts["value"][lane], facts["value"].shape[1] - 1
    if at == newest or facts["last"][lane, at]:
        return value[at]
    later = (1 - lam) * value[at + 1] + lam * naive(facts, lane, at + 1, lam)
    return facts["reward"][lane, at] + facts["discount"][lane, at] * later


def remembered(facts):
    """The ring behind all moves, and the return of each place."""
    moves = facts["value"].shape[1]
    rows = {name: jnp.asarray(fact) for name, fact in facts.items()}
    replay = empty_replay(jax.eval_shape(lambda: rows), CAPACITY)
    for start in range(0, moves, PIECE):
        replay = add(replay, {name: x[:, start : start + PIECE] for name, x in rows.items()})
    return replay


@pytest.mark.parametrize("td_lambda", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("moves", [3, 9, 12, 15, 21, 24, 33])
def test_returns_are_those_of_the_definition_however_full_the_ring_is(moves, td_lambda):
    facts = played(moves, seed=moves)
    replay = remembered(facts)
    past = replay.rows
    returns = np.asarray(
        lambda_returns(
            past["reward"],
            past["discount"],
            past["value"],
            past["last"],
            ages(replay),
            td_lambda,
        )
    )
    for lane in range(LANES):
        for at in range(max(0, moves - CAPACITY), moves):
            expected = naive(facts, lane, at, td_lambda)
            np.testing.assert_allclose(returns[lane, at % CAPACITY], expected, atol=1e-5)


def one_lane(rewards, discounts, values, last=None, td_lambda=1.0):
    number = len(rewards)
    rows = [jnp.array([x], jnp.float32) for x in (rewards, discounts, values)]
    last = jnp.array([last or [False] * number])
    age = jnp.arange(number)[None, ::-1]
    return lambda_returns(*rows, last, age, td_lambda)[0].tolist()


VALUES = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_finished_game_has_its_outcome_at_every_depth_with_the_movers_sign():
    returns = one_lane([0, 0, 0, 1, 0], [-1, -1, -1, 0, -1], VALUES)
    assert returns == [-1.0, 1.0, -1.0, 1.0, 0.5]


def test_who_moves_twice_keeps_the_sign():
    returns = one_lane([0, 0, 0, -1, 0], [1, -1, 1, 0, -1], VALUES)
    assert returns == [1.0, 1.0, -1.0, -1.0, 0.5]


def test_the_newest_position_has_its_own_value_and_those_before_it_look_there():
    returns = one_lane([0, 0, 0, 0, 0], [-1, -1, -1, -1, -1], VALUES)
    assert returns == [0.5, -0.5, 0.5, -0.5, 0.5]


def test_a_game_that_has_just_ended_has_its_outcome_too():
    assert one_lane([0, 0, 0, 0, 1], [-1, -1, -1, -1, 0], VALUES) == [1.0, -1.0, 1.0, -1.0, 1.0]


def test_a_game_that_was_broken_off_has_the_value_found_there():
    last = [False, False, True, False, False]
    returns = one_lane([0, 0, 0, 0, 1], [-1, -1, -1, -1, -1], VALUES, last)
    np.testing.assert_allclose(returns, [0.3, -0.3, 0.3, -0.5, 0.5], atol=1e-6)


def test_with_lambda_zero_only_the_next_value_counts():
    returns = one_lane([0, 0.5, 0, 1, 0], [-1, -1, 1, 0, -1], VALUES, td_lambda=0.0)
    np.testing.assert_allclose(returns, [-0.2, 0.2, 0.4, 1.0, 0.5], atol=1e-6)

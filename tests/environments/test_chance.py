"""A game of chance is known by how it is computed."""

import jax
import jax.numpy as jnp
import pytest

from rlsearch.environments.chance import begins_differently, has_chance
from rlsearch.environments.pgx_game import ONE_PLAYER, TWO_PLAYERS
from tests.boards import DiceGame, OneGoodMove, TableGame, pgx_game

CHANCE = {"tic_tac_toe": False, "connect_four": False, "hex": False, "othello": False, "2048": True}
STILL = ("animal_shogi", "chess", "gardner_chess", "go_9x9", "go_19x19", "shogi")
REST = {game: game not in STILL for game in (*TWO_PLAYERS, *ONE_PLAYER) if game not in CHANCE}


class Looped(TableGame):
    """The key goes through a loop and a branch, and is heard or not."""

    def __init__(self, heard: bool):
        super().__init__()
        self.heard = heard

    def step(self, state, action, key):
        def turn(number, carry):
            key, total = carry
            key, drawn = jax.random.split(key)
            more = jax.random.randint(drawn, (), 0, 2) if self.heard else number
            return key, total + more

        _, total = jax.lax.fori_loop(0, 3, turn, (key, jnp.int32(0)))
        after = super().step(state, action, key)
        return after._replace(reward=jnp.where(total > 1, after.reward, 0.0))


class Shuffled(TableGame):
    """A game begins behind a move that is drawn."""

    def reset(self, key):
        first = super().reset(key)
        return self.step(first, jax.random.randint(key, (), 0, 2), key)


@pytest.mark.parametrize(("game", "chance"), CHANCE.items())
def test_chance_in_a_game_is_found(game, chance):
    assert has_chance(pgx_game(game)) is chance


@pytest.mark.slow
@pytest.mark.parametrize(("game", "chance"), REST.items())
def test_chance_in_every_other_game_is_found(game, chance):
    assert has_chance(pgx_game(game)) is chance


@pytest.mark.parametrize(
    ("game", "chance"),
    [(TableGame(), False), (OneGoodMove(), False), (DiceGame(), True)]
    + [(Looped(heard), heard) for heard in (False, True)],
)
def test_chance_in_a_game_of_the_users_is_found(game, chance):
    assert has_chance(game) is chance


def test_a_beginning_that_is_drawn_is_found():
    # That a coin says who begins makes no other position.
    assert not begins_differently(pgx_game("tic_tac_toe")) and not begins_differently(TableGame())
    assert begins_differently(Shuffled()) and not has_chance(Shuffled())

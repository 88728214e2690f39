"""A rated tournament of the players of one game: all against all.

Every opening is played twice, with the players changed over, so that neither it nor the first move
favours anyone. While the players move by turns, one of the two games then waits for either player:
a player's batch is half of the games, of the same size in all pairings.

Letters: P pairs of games in a pairing, B = 2 P games, K moves of an opening, N players.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.arena.elo import Ratings, rate
from rlsearch.arena.players import (
    Player,
    players_of_run,
    random_move,
    random_player,
    read_runs,
    rollout_player,
)
from rlsearch.arena.tournament_picture import draw
from rlsearch.environments.base import Environment, finished, game_name
from rlsearch.keys import folded
from rlsearch.parallel.mesh import row_keys
from rlsearch.runs.directory import write_json
from rlsearch.training.progress import Progress

ROLLOUTS = (16, 64)  # simulations of the plain searches that take part
PAIRS = 32  # of games in a pairing
OPENING_MOVES = 4
MAX_MOVES = 1024  # of a game, which is drawn then
_ATTEMPTS = 100  # at an opening that does not end the game
_PROBE_MOVES = 64  # within which another player moves, if there is one


class Openings(NamedTuple):
    """P positions behind K random moves, none of them finished."""

    states: Any  # [P]
    first: jax.Array  # [P] int32, who moved first in the game, as the environment numbers players
    actions: jax.Array  # [P, K] int32


class Games(NamedTuple):
    """The games of a pairing: those of all openings, and the same with the players changed over."""

    states: Any  # [B]
    seats: jax.Array  # [B] int32, which of the environment's players the first player is
    returns: jax.Array  # [B] float32, to the first player
    over: jax.Array  # [B] bool


class Waiting(NamedTuple):
    """Games in which one player is to move, as many as its batch has room for."""

    rows: jax.Array  # [P] int32, of `Games`; B where there is no more
    states: Any  # [P]
    keys: jax.Array  # [P] typed keys


class Match:
    """Plays pairings of P pairs of games, and compiles what they share once."""

    def __init__(self, environment: Environment, pairs: int, max_moves: int = MAX_MOVES):
        """Nothing is played yet.

        Args:
            max_moves: of a game, opening included; one that is longer is drawn.
        """
        self._pairs = pairs
        self._waiting = jax.jit(self._waiting_games)
        self._move = jax.jit(functools.partial(self._make_moves, environment, max_moves))

    def play(self, first: Player, second: Player, openings: Openings, key: jax.Array) -> np.ndarray:
        """Plays two games from each of P openings.

        Args:
            key: consumed. What chance does in both games of an opening at the same move is the
                same; the players' own keys are of one game each.

        Returns:
            `[2, P]` float32, 1 where the first player won, 0 where it drew and -1 where it lost;
            row 0 where it moved first in the game, row 1 where the second player did.
        """
        choice_key, chance_key = jax.random.split(key)
        choice_keys = row_keys(choice_key, 2 * self._pairs)
        chance_keys = jnp.tile(row_keys(chance_key, self._pairs), 2)
        games = self._begin(openings)
        while True:
            counts, sides = self._waiting(games, choice_keys)
            if not np.any(counts):
                break
            rows, actions = [], []
            for player, count, side in zip((first, second), np.asarray(counts), sides, strict=True):
                if count:
                    rows.append(side.rows)
                    actions.append(player.choose(side.states, side.keys))
                else:
                    rows.append(jnp.full_like(side.rows, 2 * self._pairs))
                    actions.append(jnp.zeros_like(side.rows))
            games = self._move(games, rows, actions, chance_keys)
        ended = jax.vmap(lambda state: state.terminated)(games.states)
        outcomes = jnp.where(ended, jnp.sign(games.returns), 0.0)
        return np.asarray(outcomes).reshape(2, self._pairs)

    def _begin(self, openings: Openings) -> Games:
        """The games before the players' first moves."""
        return Games(
            states=jax.tree.map(lambda x: jnp.concatenate([x, x]), openings.states),
            seats=jnp.concatenate([openings.first, 1 - openings.first]),
            returns=jnp.zeros((2 * self._pairs,), jnp.float32),
            over=jnp.zeros((2 * self._pairs,), bool),
        )

    def _waiting_games(
        self, games: Games, choice_keys: jax.Array
    ) -> tuple[jax.Array, tuple[Waiting, Waiting]]:
        """Counts the games that wait for each player, `[2]`, and lists the first P of them."""
        keys = jax.vmap(jax.random.fold_in)(choice_keys, games.states.moves)
        firsts = games.states.player == games.seats
        counts, sides = [], []
        for mine in (firsts & ~games.over, ~firsts & ~games.over):
            # A game that finds no room, as its player has moved twice in others, waits a turn.
            rows = jnp.argsort(~mine, stable=True)[: self._pairs]
            states = jax.tree.map(lambda x, rows=rows: x[rows], games.states)
            counts.append(mine.sum())
            nowhere = jnp.where(mine[rows], rows, 2 * self._pairs)
            sides.append(Waiting(nowhere.astype(jnp.int32), states, keys[rows]))
        return jnp.stack(counts), (sides[0], sides[1])

    @staticmethod
    def _make_moves(
        environment: Environment,
        max_moves: int,
        games: Games,
        rows: list[jax.Array],
        actions: list[jax.Array],
        chance_keys: jax.Array,
    ) -> Games:
        """The games after the moves `actions [P]` of both players in their games `rows [P]`."""
        where, what = jnp.concatenate(rows), jnp.concatenate(actions).astype(jnp.int32)
        action = jnp.zeros_like(games.seats).at[where].set(what, mode="drop")
        moved = jnp.zeros_like(games.over).at[where].set(True, mode="drop")
        before = games.states
        keys = jax.vmap(jax.random.fold_in)(chance_keys, before.moves)
        after = jax.vmap(environment.step)(before, action, keys)
        sign = jnp.where(before.player == games.seats, 1.0, -1.0)
        states = jax.vmap(_where)(moved, after, before)
        return Games(
            states=states,
            seats=games.seats,
            returns=games.returns + jnp.where(moved, sign * after.reward, 0.0),
            over=jax.vmap(finished)(states) | (states.moves >= max_moves),
        )


def _where(condition: jax.Array, one: Any, other: Any) -> Any:
    """One of two pytrees, for `condition []`."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), one, other)


class OpeningBook:
    """Draws openings of K random moves each that do not end the game."""

    def __init__(self, environment: Environment, moves: int):
        """Nothing is drawn yet."""
        self._moves = moves
        self._attempt = jax.jit(jax.vmap(functools.partial(_random_game, environment, moves)))

    def draw(self, key: jax.Array, pairs: int) -> Openings:
        """Draws P openings.

        Args:
            key: consumed.

        Raises:
            ValueError: if there seems to be none.
        """
        keys = row_keys(key, pairs)
        openings = self._attempt(keys)
        for number in range(1, _ATTEMPTS):
            over = jax.vmap(finished)(openings.states)
            if not over.any():
                return openings
            again = self._attempt(folded(keys, number))
            openings = jax.vmap(_where)(over, again, openings)
        raise ValueError(f"opening_moves is {self._moves}: so many random moves end the game")


def _random_game(environment: Environment, moves: int, key: jax.Array) -> Openings:
    """One game of K random moves, that may be over."""
    reset_key, moves_key = jax.random.split(key)

    def move(state: Any, number: jax.Array) -> tuple[Any, jax.Array]:
        draw_key, chance_key = jax.random.split(jax.random.fold_in(moves_key, number))
        action = random_move(state, draw_key)
        return environment.step(state, action, chance_key), action

    first = environment.reset(reset_key)
    state, actions = jax.lax.scan(move, first, jnp.arange(moves))
    return Openings(state, first.player, actions)


def is_for_two(environment: Environment) -> bool:
    """Tells whether anyone but the first to move is to move within some random moves."""

    @jax.jit
    @jax.vmap
    def other_moves(key: jax.Array) -> jax.Array:
        def move(state: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            draw_key, chance_key = jax.random.split(jax.random.fold_in(key, number))
            after = environment.step(state, random_move(state, draw_key), chance_key)
            return after, after.player != state.player

        return jax.lax.scan(move, environment.reset(key), jnp.arange(_PROBE_MOVES))[1].any()

    return bool(other_moves(row_keys(jax.random.key(0), 8)).any())


def tournament(
    environment: Environment,
    players: Sequence[Player],
    pairs: int = PAIRS,
    opening_moves: int = OPENING_MOVES,
    seed: int = 0,
    max_moves: int = MAX_MOVES,
) -> np.ndarray:
    """Lets all N players play against each other, in every pairing from other openings.

    Returns:
        `[N, N, 2, P]` float32: in row i and column j the outcomes of i against j, as `Match.play`
        gives them; NaN where i is j.

    Raises:
        ValueError: if so many random moves end the game.
    """
    book, match = OpeningBook(environment, opening_moves), Match(environment, pairs, max_moves)
    outcomes = np.full((len(players), len(players), 2, pairs), np.nan, np.float32)
    pairings = list(itertools.combinations(range(len(players)), 2))
    keys = row_keys(jax.random.key(seed), len(pairings))
    with Progress(len(pairings), "pairings") as progress:
        for number, (i, j) in enumerate(pairings):
            openings_key, games_key = jax.random.split(keys[number])
            openings = book.draw(openings_key, pairs)
            outcomes[i, j] = match.play(players[i], players[j], openings, games_key)
            outcomes[j, i] = -outcomes[i, j, ::-1]
            progress.update(number + 1, newest=f"{players[i].name} against {players[j].name}")
    return outcomes


class Entrants(NamedTuple):
    """The players of an arena beside the one that moves at random."""

    # A player of each run for each number, 0 being the policy without a search; empty for that of
    # the config's `play`.
    simulations: Sequence[int] = ()
    checkpoints: str = "last"  # or "all", for a player of each checkpoint that a run has
    rollouts: Sequence[int] = ROLLOUTS  # a plain search for each number of simulations


def arena(
    run_dirs: Sequence[str],
    entrants: Entrants,
    pairs: int = PAIRS,
    opening_moves: int = OPENING_MOVES,
    seed: int = 0,
    code: str = "",
) -> dict[str, Any]:
    """Writes `evaluations/arena.json` and `arena.png` of the first run; returns content and paths.

    The players are one that moves at random, whose rating is 0, plain searches with random
    playouts, and the runs.

    Args:
        pairs: P, openings; each is played twice in a pairing.
        code: see `read_run`.

    Raises:
        FileNotFoundError: if there is no run in a directory.
        ValueError: if the runs are not of one game for two players, or a run is given twice.
    """
    runs = read_runs(run_dirs, code)
    directory, environment = runs[0].opened.directory, runs[0].environment
    game = game_name(runs[0].environment)
    if not is_for_two(environment):
        raise ValueError(
            f"run is {str(directory.path)!r}: {game} is for one player, and an arena is for two"
        )
    players = [random_player()]
    players += [rollout_player(environment, number) for number in dict.fromkeys(entrants.rollouts)]
    for run in runs:
        players += players_of_run(run, entrants.simulations, entrants.checkpoints)
    outcomes = tournament(environment, players, pairs, opening_moves, seed)
    # A win is a point and a draw is half; nobody plays against itself.
    ratings = rate(np.nan_to_num((outcomes + 1.0) / 2.0).sum(axis=2), seed)
    result = {
        "benchmark": "arena",
        "game": game,
        "seed": seed,
        "openings": {"moves": opening_moves, "pairs": pairs},
        "players": _player_rows(players, outcomes, ratings),
        "pairings": _pairing_rows(players, outcomes, ratings),
    }
    table, picture = directory.evaluations / "arena.json", directory.evaluations / "arena.png"
    write_json(table, result)
    draw(result["players"], picture, f"{game}, {2 * pairs} games a pairing")
    return {**result, "table": str(table), "picture": str(picture)}


def _player_rows(
    players: Sequence[Player], outcomes: np.ndarray, ratings: Ratings
) -> list[dict[str, Any]]:
    """A row a player, the best first; the first player's rating is 0."""
    elo, interval, from_mean = ratings.elo(0), ratings.interval(0), ratings.from_mean(0)
    rows = []
    for number in np.argsort(-elo, kind="stable"):
        played = outcomes[number][~np.isnan(outcomes[number])]
        row = {
            "name": players[number].name,
            "settings": players[number].settings,
            "elo": float(elo[number]),
            "ci95": interval[number].tolist(),
            "ci95_from_mean": from_mean[number].tolist(),
            "score": float((played.mean() + 1.0) / 2.0),
            "games": played.size,
        }
        rows.append(row)
    return rows


def _pairing_rows(
    players: Sequence[Player], outcomes: np.ndarray, ratings: Ratings
) -> list[dict[str, Any]]:
    """A row a pairing, as its first player sees it."""
    rows = []
    for i, j in itertools.combinations(range(len(players)), 2):
        row = {
            "players": [players[i].name, players[j].name],
            **_counts(outcomes[i, j]),
            "moving_first": _counts(outcomes[i, j, 0]),
            "moving_second": _counts(outcomes[i, j, 1]),
            "elo": float(ratings.elo(j)[i]),
            "ci95": ratings.interval(j)[i].tolist(),
        }
        rows.append(row)
    return rows


def _counts(outcomes: np.ndarray) -> dict[str, int]:
    names = {"wins": 1, "draws": 0, "losses": -1}
    return {name: int((outcomes == outcome).sum()) for name, outcome in names.items()}

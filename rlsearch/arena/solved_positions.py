"""Positions whose moves all have a known value: solved here for small games, or read from a file.

What cannot be solved here is refused before the work: a game of chance, and one that is too large
(`solvable.py`). Of a file all is read that can be read.

A move keeps the game-theoretic value when what it leads to (a win, a draw, a loss) is the best
that any legal move leads to.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.arena.solvable import (
    bytes_of_position,
    check_no_chance,
    check_size,
    too_large,
)
from rlsearch.data.left_out import LeftOut, cut
from rlsearch.data.tables import Row, plain, read_table
from rlsearch.environments.base import Environment, finished

MAX_POSITIONS = 100_000  # of a game that is solved here, and MAX_BYTES of memory for them
MAX_BYTES = 2 * 2**30  # of the states of all positions, whether solved or read
MAX_FILE_BYTES = 50_000_000
MAX_ROWS = 1_000_000  # positions of a file
MAX_MOVES = 1000  # of the game behind a position
_BYTES_AT_ONCE = 2**27  # of what one step of many positions leads to
_ROWS_AT_ONCE = 4096  # games of a file that are played at once
_DIGITS = 9  # so many actions can be named by one digit each
_NO_SCORE = {"", "-", "x", "nan", "none", "null", "-1000"}  # -1000: the widely used solver's


class SolvedPositions(NamedTuple):
    """N positions, none of them finished."""

    states: Any  # a batch of the environment's states
    outcomes: np.ndarray  # [N, A] float32 in [-1, 1], to who moves; NaN for illegal moves
    left_out: int = 0  # lines of a file that are no positions of this game

    def keeps_value(self, actions: np.ndarray) -> np.ndarray:
        """`[N]` bool, whether each of `actions [N]` keeps the value."""
        chosen = self.outcomes[np.arange(len(actions)), actions]
        return np.sign(chosen) == np.sign(np.nanmax(self.outcomes, axis=1))

    @property
    def matters(self) -> np.ndarray:
        """`[N]` bool, whether some legal move fails."""
        best = np.nanmax(self.outcomes, axis=1, keepdims=True)
        return (np.sign(self.outcomes) < np.sign(best)).any(axis=1)


class Graph(NamedTuple):
    """All N positions that can be reached, and where their moves lead."""

    positions: SolvedPositions
    children: np.ndarray  # [N, A] int32, a position, or -1 where the game is over or no move is
    same_player: np.ndarray  # [N, A] bool, who moved moves again
    start: int  # the position in which a game begins


def solve_game(environment: Environment) -> Graph:
    """Solves a small game of two players and no chance by looking at all of it.

    Raises:
        ValueError: if chance has a part in it, or it has more than `MAX_POSITIONS` positions, or
            these would take more than `MAX_BYTES`; before much is computed.
    """
    check_no_chance(environment, "be solved")
    check_size(environment, MAX_POSITIONS)
    actions, of_position = environment.num_actions, bytes_of_position(environment)
    at_once = max(1, _BYTES_AT_ONCE // (actions * of_position))
    first = jax.tree.map(lambda x: np.asarray(x)[None], environment.reset(jax.random.key(0)))
    number = {_digest(np.asarray(environment.observe(_row(first, 0)))): 0}
    levels, frontier, children, edges = [first], first, [], []
    after = _make_after(environment)
    while len(frontier.player):
        found = []
        for start in range(0, len(frontier.player), at_once):
            rows = slice(start, start + at_once)
            part = jax.tree.map(lambda x, rows=rows: x[rows], frontier)
            legal = np.asarray(part.legal_action_mask).reshape(-1)
            states, seen, over = after(part)
            links, new = np.full(legal.size, -1, np.int32), []
            for row in np.flatnonzero(legal & ~over):
                name = _digest(seen[row])
                if name not in number:
                    number[name] = len(number)
                    new.append(row)
                links[row] = number[name]
            if len(number) > MAX_POSITIONS:
                raise too_large(f"it has more than {MAX_POSITIONS} positions")
            if len(number) * of_position > MAX_BYTES:
                raise too_large(f"its positions take more than {MAX_BYTES} bytes")
            children.append(links.reshape(-1, actions))
            reward = np.where(legal, states.reward, np.nan).reshape(-1, actions)
            same = np.repeat(part.player, actions) == states.player
            edges.append((reward, same.reshape(-1, actions)))
            found.append(jax.tree.map(lambda x, new=new: x[new], states))
        frontier = jax.tree.map(lambda *x: np.concatenate(x), *found)
        levels.append(frontier)
    links = np.concatenate(children)
    rewards, same = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    signs = np.where(same, 1.0, -1.0)
    # Backwards through the moves: every position is numbered before those that it leads to.
    outcomes = rewards.astype(np.float32)
    for row in range(len(links) - 1, -1, -1):
        inner = links[row] >= 0
        values = np.nanmax(outcomes[links[row][inner]], axis=1) if inner.any() else 0.0
        outcomes[row][inner] += signs[row][inner] * values
    states = jax.tree.map(lambda *x: np.concatenate(x), *levels)
    return Graph(SolvedPositions(states, outcomes), links, same, start=0)


def _make_after(environment: Environment) -> Any:
    """A function of n positions: where all moves lead `[n * A]`, what is seen there, and which of
    it is over."""
    actions = jnp.arange(environment.num_actions)

    @jax.jit
    def compute(states: Any) -> tuple[Any, jax.Array, jax.Array]:
        each = jax.vmap(environment.step, (None, 0, None))
        after = jax.vmap(each, (0, None, None))(states, actions, jax.random.key(0))
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), after)
        return flat, jax.vmap(environment.observe)(flat), jax.vmap(finished)(flat)

    def after(states: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        # A power of two of rows, so that few sizes are compiled.
        count = len(states.player)
        padded = 1 << (count - 1).bit_length()
        states = jax.tree.map(lambda x: jnp.asarray(np.resize(x, (padded, *x.shape[1:]))), states)
        rows = count * environment.num_actions
        return jax.tree.map(lambda x: np.asarray(x)[:rows], compute(states))

    return after


def _row(states: Any, row: int) -> Any:
    return jax.tree.map(lambda x: x[row], states)


def _digest(seen: np.ndarray) -> bytes:
    return hashlib.blake2b(seen.tobytes(), digest_size=16).digest()


def lost_lines(graph: Graph, actions: np.ndarray) -> int:
    """Positions at which a player of `actions [N]` has lost the game, against any opponent.

    The player has either side; the opponent tries every move. Each way of losing counts once.
    """
    outcomes, lost = graph.positions.outcomes, 0
    for player_moves_first in (True, False):
        reached = {(graph.start, player_moves_first)}
        open_positions = list(reached)
        while open_positions:
            position, ours = open_positions.pop()
            legal = np.flatnonzero(~np.isnan(outcomes[position]))
            for action in [actions[position]] if ours else legal:
                goes_on = ours if graph.same_player[position, action] else not ours
                child = (int(graph.children[position, action]), goes_on)
                if child[0] < 0:
                    lost += int(outcomes[position, action] * (1 if ours else -1) < 0)
                elif child not in reached:
                    reached.add(child)
                    open_positions.append(child)
    return lost


def read_solved_positions(path: str, environment: Environment) -> SolvedPositions:
    """Reads positions from a table (`rlsearch.data.tables`): `moves`, and a score for each action
    in `score_1`, `score_2`, ...; without a header the columns must be just these.

    `moves` is the sequence of actions from the start of the game, counted from 1: one digit each,
    or numbers with spaces between them, as there must be where the game has over nine actions. A
    score is positive where the move wins, 0 where it draws and negative where it loses; it is empty
    where the move is illegal. Lines that say something else are left out, and that is told.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if no line is a position of this game; if chance has a part in the game; or if
            the file, or what it leads to, is too large.
    """
    left_out = LeftOut(path, "positions of this game")
    try:
        table = read_table(path, MAX_FILE_BYTES, "a file of positions", left_out)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"positions is {path[-200:]!a}: there is no such file") from error
    rows = _in_columns(path, table, environment.num_actions)
    most = min(MAX_ROWS, MAX_BYTES // bytes_of_position(environment))
    if len(rows) > most:
        raise ValueError(f"{path} has {len(rows)} positions: at most {most} of this game are read")
    check_no_chance(environment, "have solved positions")
    lines, texts, games, scores = [], [], [], []
    for line, cells in rows:
        try:
            moves, values = _position(cells, environment.num_actions)
        except ValueError:
            left_out.add(line, f"{cut(cells[0])} is no position of this game")
        else:
            lines.append(line)
            texts.append(cells[0])
            games.append(moves)
            scores.append(values)
    if not lines:
        left_out.conclude(0)
        raise ValueError(f"{path} must have positions: it has a header alone")
    states, possible = jax.tree.map(lambda *x: np.concatenate(x), *_play(environment, games))
    outcomes = np.sign(np.array(scores, np.float32))
    scored = (np.asarray(states.legal_action_mask) != np.isnan(outcomes)).all(axis=1)
    over = np.asarray(jax.vmap(finished)(states))
    for row in np.flatnonzero(~possible | over | ~scored):
        wrong = "the scores are not those of the legal moves"
        if not possible[row] or over[row]:
            wrong = f"{cut(texts[row])} is no position of this game"
        left_out.add(lines[row], wrong)
    good = possible & ~over & scored
    left_out.conclude(int(good.sum()))
    states = jax.tree.map(lambda x: x[good], states)
    return SolvedPositions(states, outcomes[good], left_out.count)


def _in_columns(path: str, table: list[Row], actions: int) -> list[Row]:
    """The rows without the header: the moves, and the score of each action."""
    names = ["moves", *(f"score_{action + 1}" for action in range(actions))]
    header = [plain(cell) for cell in table[0].cells] if table else []
    if len(header) == len(names) and re.fullmatch("[0-9]*", header[0]):
        return table  # it has no header
    missing = [name for name in names if plain(name) not in header]
    if missing:
        lacks = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        one = "score" in header or len(header) == 2 and header[0].isdecimal()
        raise ValueError(
            f"{path} must have positions, in columns moves, score_1 to score_{actions}: "
            + (f"it lacks {lacks}" if table else "it is empty")
            + ("; its one score is of a position, and that of each move is needed" if one else "")
        )
    places = [header.index(plain(name)) for name in names]
    return [
        Row(line, [cells[place] if place < len(cells) else "" for place in places])
        for line, cells in table[1:]
    ]


def _position(cells: list[str], actions: int) -> tuple[list[int], list[float]]:
    """The actions that lead to a position, from 0, and the score of each action there."""
    text = cells[0]
    digits = actions <= _DIGITS and re.fullmatch("[0-9]*", text)
    moves = [int(move) - 1 for move in (text if digits else re.split(r"[\s,;|-]+", text)) if move]
    scores = [
        np.nan if cell.lower() in _NO_SCORE else float(cell) for cell in cells[1 : actions + 1]
    ]
    if len(moves) > MAX_MOVES or not all(0 <= move < actions for move in moves):
        raise ValueError
    if np.isnan(scores).all():
        raise ValueError
    return moves, scores


def _play(environment: Environment, games: list[list[int]]) -> Iterator[tuple[Any, np.ndarray]]:
    """The states behind each sequence of moves, and whether all of them were legal; in parts."""
    longest = max(map(len, games))

    @jax.jit
    @jax.vmap
    def run(actions: jax.Array):
        def move(carry, action):
            state, possible = carry
            none, action = action < 0, jnp.maximum(action, 0)
            legal = state.legal_action_mask[action] & ~finished(state)
            after = environment.step(state, action, jax.random.key(0))
            state = jax.tree.map(lambda x, y: jnp.where(none, x, y), state, after)
            return (state, possible & (none | legal)), None

        first = environment.reset(jax.random.key(0)), jnp.ones((), bool)
        return jax.lax.scan(move, first, actions)[0]

    table = np.full((len(games), longest), -1, np.int32)
    for row, game in enumerate(games):
        table[row, : len(game)] = game
    at_once = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // bytes_of_position(environment)))
    at_once = min(at_once, 1 << (len(games) - 1).bit_length())  # few sizes are compiled
    for start in range(0, len(games), at_once):
        part = table[start : start + at_once]
        padded = np.concatenate([part, np.full((at_once - len(part), longest), -1, np.int32)])
        rows = len(part)
        yield jax.tree.map(lambda x, rows=rows: np.asarray(x)[:rows], run(padded))

"""Positions whose moves all have a known value: solved here for small games, or read from a file.

A move keeps the game-theoretic value when what it leads to (a win, a draw, a loss) is the best
that any legal move leads to.
"""

import csv
import io
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rlsearch.environments.base import Environment, finished

MAX_POSITIONS = 100_000  # of a game that is solved here
MAX_FILE_BYTES = 50_000_000


class SolvedPositions(NamedTuple):
    """N positions, none of them finished."""

    states: Any  # a batch of the environment's states
    outcomes: np.ndarray  # [N, A] float32 in [-1, 1], to who moves; NaN for illegal moves

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
        ValueError: if it has more than `MAX_POSITIONS` positions.
    """
    actions = environment.num_actions
    key = jax.random.key(0)
    step = jax.jit(jax.vmap(jax.vmap(environment.step, (None, 0, None)), (0, None, None)))
    observe = jax.jit(jax.vmap(environment.observe))

    def after(states: Any) -> tuple[Any, np.ndarray]:
        """Where all moves lead, `[n * A]`, and what names each position."""
        # A power of two of rows, so that few sizes are compiled.
        count = len(states.player)
        padded = 1 << (count - 1).bit_length()
        states = jax.tree.map(lambda x: jnp.asarray(np.resize(x, (padded, *x.shape[1:]))), states)
        next_states = step(states, jnp.arange(actions), key)
        flat = jax.tree.map(lambda x: x[:count].reshape(-1, *x.shape[2:]), next_states)
        return jax.tree.map(np.asarray, flat), np.asarray(observe(flat))

    first = jax.tree.map(lambda x: np.asarray(x)[None], environment.reset(key))
    number = {np.asarray(observe(first))[0].tobytes(): 0}
    levels, frontier, children, edges = [first], first, [], []
    while len(frontier.player):
        legal = np.asarray(frontier.legal_action_mask)
        states, seen = after(frontier)
        over = np.asarray(jax.vmap(finished)(states))
        same = np.repeat(frontier.player, actions) == states.player
        links, new = np.full(legal.size, -1, np.int32), []
        for row in np.flatnonzero(legal.reshape(-1) & ~over):
            name = seen[row].tobytes()
            if name not in number:
                number[name] = len(number)
                new.append(row)
            links[row] = number[name]
        if len(number) > MAX_POSITIONS:
            raise ValueError(f"the game has more than {MAX_POSITIONS} positions to solve")
        children.append(links.reshape(-1, actions))
        reward = np.where(legal.reshape(-1), states.reward, np.nan).reshape(-1, actions)
        edges.append((reward, same.reshape(-1, actions)))
        frontier = jax.tree.map(lambda x, new=new: x[new], states)
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
    """Reads positions from a CSV: `moves`, and `score_1`, `score_2`, ... one an action.

    `moves` is the sequence of actions from the start of the game, one digit each, counted from 1.
    A score is positive where the move wins, 0 where it draws and negative where it loses; it is
    empty where the move is illegal.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is not of this form, or not of this game.
    """
    file, actions = epath.Path(path), environment.num_actions
    if not file.exists():
        raise FileNotFoundError(f"positions is {path!r}: there is no such file")
    if file.stat().length > MAX_FILE_BYTES:
        raise ValueError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    columns = [f"score_{action + 1}" for action in range(actions)]
    moves, scores = [], []
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file: {error}") from error
    if actions > 9 or not rows or not {"moves", *columns} <= {*rows[0]}:
        raise ValueError(f"{path} must have positions, in columns moves, {', '.join(columns)}")
    for line, row in enumerate(rows, start=2):
        text = row["moves"] or ""
        try:
            moves.append([int(digit) - 1 for digit in text])
            scores.append([float(row[name]) if row[name] else np.nan for name in columns])
        except ValueError:
            moves.append([-1])
        if not all(0 <= move < actions for move in moves[-1]) or np.isnan(scores[-1]).all():
            raise ValueError(f"{path}, line {line}: {text!r} is no position of this game")
    states = _play(environment, moves)
    legal = np.asarray(states.legal_action_mask)
    outcomes = np.sign(np.array(scores, np.float32))
    wrong = (legal == np.isnan(outcomes)).any(axis=1) | np.asarray(jax.vmap(finished)(states))
    if wrong.any():
        line = int(np.argmax(wrong)) + 2
        raise ValueError(f"{path}, line {line}: the scores are not those of the legal moves")
    return SolvedPositions(states, outcomes)


def _play(environment: Environment, moves: list[list[int]]) -> Any:
    """The states behind each sequence of moves."""
    longest = max(map(len, moves), default=0)
    table = jnp.array([game + [-1] * (longest - len(game)) for game in moves], jnp.int32)

    @jax.jit
    @jax.vmap
    def run(actions: jax.Array):
        def move(state, action):
            after = environment.step(state, jnp.maximum(action, 0), jax.random.key(0))
            return jax.tree.map(lambda x, y: jnp.where(action < 0, x, y), state, after), None

        return jax.lax.scan(move, environment.reset(jax.random.key(0)), actions)[0]

    return run(table)

"""The turns and reflections of a board under which the rules of a game stay the same."""

from collections.abc import Callable

import numpy as np

Turn = Callable[[np.ndarray], np.ndarray]  # of a grid [rows, columns]


def _quarter_turns(turns: int, mirrored: bool) -> Turn:
    return lambda grid: np.fliplr(np.rot90(grid, turns)) if mirrored else np.rot90(grid, turns)


SQUARE = tuple(_quarter_turns(turns, mirrored) for mirrored in (False, True) for turns in range(4))
MIRROR = (_quarter_turns(0, False), _quarter_turns(0, True))
HALF_TURN = (_quarter_turns(0, False), _quarter_turns(2, False))

TURNS = {
    "tic_tac_toe": SQUARE,
    "othello": SQUARE,
    "go_9x9": SQUARE,
    "go_19x19": SQUARE,
    "2048": SQUARE,
    "connect_four": MIRROR,
    "hex": HALF_TURN,
}


def symmetries(game: str, rows: int, columns: int, actions: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists origins of each cell `[G, rows * columns]` and action `[G, A]`; the identity first."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    cells, moves = [], []
    for turn in TURNS.get(game, (_quarter_turns(0, False),)):
        cells.append(turn(grid).reshape(-1))
        moves.append(_actions(game, turn, grid, actions))
    return np.array(cells, np.int32), np.array(moves, np.int32)


def _actions(game: str, turn: Turn, grid: np.ndarray, actions: int) -> np.ndarray:
    if game == "connect_four":  # an action is a column
        return turn(grid)[0]
    if game == "2048":  # an action is a direction: left, up, right, down
        arrows = np.full((3, 3), -1)
        arrows[1, 0], arrows[0, 1], arrows[1, 2], arrows[2, 1] = range(4)
        turned = turn(arrows)
        return np.array([turned[1, 0], turned[0, 1], turned[1, 2], turned[2, 1]])
    if game in TURNS:  # an action is a cell, or stands behind all cells: a pass, a swap of sides
        return np.concatenate([turn(grid).reshape(-1), np.arange(grid.size, actions)])
    return np.arange(actions)

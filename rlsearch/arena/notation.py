"""Boards and moves as text: how they are shown to a person, and how a person types them.

A board is drawn from what the network sees of it, so that no game's own state is looked into. X
is who began. The names of cells are those of the players of each game: in Go row 1 is at the
bottom and there is no column i, in Othello and Hex row 1 is at the top.
"""

import dataclasses
import string
from collections.abc import Callable, Sequence

import numpy as np

from rlsearch.environments.base import Environment
from rlsearch.environments.pgx_game import PgxGame

Draw = Callable[[np.ndarray, bool], str]
LISTED = 30  # more legal moves than these are listed as spans
FEW_FEATURES = 10  # of which one digit can name each


@dataclasses.dataclass(frozen=True)
class Notation:
    """The way in which one game is written.

    Attributes:
        moves: the name of each of the A actions, in lower case and without spaces.
        draw: the board of an observation `[rows, columns, features]`, where the other argument
            says whether who moves next is who began; empty where there is nothing to draw.
        columns: actions in a row of the board, for listing many moves; 1 where there are no rows.
        rule: what is said behind "You begin" and "The run begins", to the end of the sentence.
    """

    moves: tuple[str, ...]
    draw: Draw
    columns: int
    rule: str

    def read(self, text: str) -> int | None:
        """The action that `text` names, or None."""
        name = text.strip().lower()
        return self.moves.index(name) if name in self.moves else None

    def names(self, legal: np.ndarray) -> str:
        """The moves that `legal [A]` allows, as they are typed."""
        if legal.sum() <= LISTED or self.columns == 1:
            return " ".join(self.moves[action] for action in np.flatnonzero(legal))
        return " ".join(self._spans(legal))

    def _spans(self, legal: np.ndarray) -> list[str]:
        """Neighbours in a row as one span: `a9-c9`."""
        spans: list[list[int]] = []
        for action in np.flatnonzero(legal).tolist():
            if spans and spans[-1][1] == action - 1 and action % self.columns:
                spans[-1][1] = action
            else:
                spans.append([action, action])
        names = self.moves
        return [names[a] if a == b else f"{names[a]}-{names[b]}" for a, b in spans]


def make_notation(environment: Environment) -> Notation:
    """Makes the notation of the moves and boards of `environment`; of any at least the moves."""
    game = environment.game if isinstance(environment, PgxGame) else ""
    rows, columns, features = environment.observation_shape
    actions = environment.num_actions
    if game == "tic_tac_toe":
        cells = tuple(str(cell + 1) for cell in range(actions))
        return Notation(cells, _draw_tic_tac_toe, columns, ", with X.")
    if game == "connect_four":
        names = tuple(str(column + 1) for column in range(actions))
        return Notation(names, _draw_connect_four, columns, ", with X. A move is a column.")
    if game == "2048":
        names = ("left", "up", "right", "down")
        return Notation(names, _draw_2048, 1, ". A move is where the tiles slide.")
    if game in ("othello", "hex") or game.startswith("go_"):
        is_go = game.startswith("go_")
        letters = string.ascii_lowercase.replace("i", "") if is_go else string.ascii_lowercase
        numbers = range(rows, 0, -1) if is_go else range(1, rows + 1)
        labels = [str(number) for number in numbers]
        cells = tuple(f"{letter}{label}" for label in labels for letter in letters[:columns])
        slant = int(game == "hex")
        last, rule = "pass", ", with X."
        if slant:
            last, rule = "swap", ", with X, which joins top and bottom; O joins left and right."

        def draw(observation: np.ndarray, beginner_moves: bool) -> str:
            stones = _stones(observation, beginner_moves)
            return _draw_grid(stones, letters[:columns], labels, slant)

        return Notation((*cells, last), draw, columns, rule)
    numbers = tuple(str(action) for action in range(actions))
    shows = rows * columns > 1 and features <= FEW_FEATURES
    return Notation(
        numbers, _draw_features if shows else _draw_nothing, 1, ". A move is an action's number."
    )


def _stones(observation: np.ndarray, beginner_moves: bool) -> np.ndarray:
    """`[rows, columns]` X, O or a dot. The first two features are who moves, and the other."""
    own, other = ("X", "O") if beginner_moves else ("O", "X")
    first, second = observation[..., 0] > 0, observation[..., 1] > 0
    return np.where(first, own, np.where(second, other, "."))


def _draw_grid(cells: np.ndarray, letters: str, labels: Sequence[str], slant: int) -> str:
    """Letters above, numbers at both sides; each row starts `slant` further to the right."""
    lines = [f"   {' '.join(letters)}"]
    for row, (label, line) in enumerate(zip(labels, cells, strict=True)):
        lines.append(f"{' ' * slant * row}{label:>2} {' '.join(line)} {label}")
    return "\n".join(lines)


def _draw_tic_tac_toe(observation: np.ndarray, beginner_moves: bool) -> str:
    stones = _stones(observation, beginner_moves).reshape(-1)
    cells = [str(i + 1) if stone == "." else stone for i, stone in enumerate(stones)]
    rows = [" " + " | ".join(cells[start : start + 3]) for start in (0, 3, 6)]
    return "\n---+---+---\n".join(rows)


def _draw_connect_four(observation: np.ndarray, beginner_moves: bool) -> str:
    lines = _stones(observation, beginner_moves)
    numbers = [str(column + 1) for column in range(lines.shape[1])]
    return "\n".join(" " + " ".join(line) for line in (*lines, numbers))


def _draw_2048(observation: np.ndarray, beginner_moves: bool) -> str:
    del beginner_moves
    powers = observation.argmax(axis=-1)
    tiles = [[str(2**power) if power else "." for power in row] for row in powers.tolist()]
    return "\n".join("".join(f"{tile:>7}" for tile in row) for row in tiles)


def _draw_features(observation: np.ndarray, beginner_moves: bool) -> str:
    """The number of each cell's first feature, from 0."""
    del beginner_moves
    marks = np.where((observation > 0).any(axis=-1), (observation > 0).argmax(axis=-1), -1)
    return "\n".join(
        " " + " ".join("." if mark < 0 else str(mark) for mark in row) for row in marks.tolist()
    )


def _draw_nothing(observation: np.ndarray, beginner_moves: bool) -> str:
    del observation, beginner_moves
    return ""

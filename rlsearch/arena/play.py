"""A person plays against a trained run: lines of text come in, boards and moves go out."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.arena.notation import Notation, make_notation
from rlsearch.arena.opening import open_game
from rlsearch.config import SearchConfig
from rlsearch.environments.base import Environment, finished, game_name, reward_scale
from rlsearch.environments.pgx_game import ONE_PLAYER, PgxGame
from rlsearch.networks.board_model import BoardModel, Params
from rlsearch.search.moves import evaluate as evaluate_positions
from rlsearch.search.moves import search_moves

LONGEST_LINE = 1000  # characters; what comes behind them is not read
TOP_MOVES = 5  # of a search, as they are shown

COMMANDS = "hint, back, help, quit"
HELP = """\
  a move   plays it: its name is one of those that are listed
  hint     shows the moves that the run would look at in your place
  back     takes back your last move and what followed
  quit     leaves the game, as does the end of the input
Percentages are the policy of the search; values are expected rewards to who moves."""


class Thought(NamedTuple):
    """The run's view of one position, in which A actions are named."""

    action: int  # the move that it would play
    policy: np.ndarray  # [A] float32
    visits: np.ndarray  # [A] int32; all zero without a search
    values: np.ndarray  # [A] float32, to who moves; of moves that were visited
    value: float  # of the position, to who moves


Think = Callable[[Any, jax.Array], Thought]  # of a state and a key


class Turn(NamedTuple):
    """One move of a game."""

    state: Any  # before it
    action: int
    player: str  # "you" or "run"
    reward: float  # to the person
    value: float | None  # what the run expected of its own move


def play(
    run_dir: str,
    reader: TextIO,
    writer: TextIO,
    simulations: int | None = None,
    first: str = "you",
    seed: int = 0,
    code: str = "",
) -> dict[str, Any]:
    """Plays one game, and returns its moves and how it ended.

    Args:
        reader: the person's lines; where they end, the game is left.
        writer: is told all that the person is to see.
        simulations: of a move; None for that of the config's `play`, 0 for the raw policy.
        first: "you" or "run", who begins.
        seed: of chance, in the game and in the searches. A move that was taken back and is played
            again has the same luck.

    Raises:
        FileNotFoundError, ValueError: as `open_game`; or if a game of one player has the run to
            begin.
    """
    opened = open_game(run_dir, code)
    environment, model = opened.environment, opened.model
    game = game_name(environment)
    if first == "run" and isinstance(environment, PgxGame) and game in ONE_PLAYER:
        raise ValueError(f"first is 'run': {game} has one player, who must be 'you'")
    checkpoint_step = opened.steps()[-1]
    params = opened.params(checkpoint_step)
    search = opened.search
    if simulations is not None:
        search = dataclasses.replace(search, num_simulations=simulations) if simulations else None
    think = make_think(params, environment, model, search)
    notation = make_notation(environment)
    match = Match(environment, notation, think, seed, reward_scale(environment))
    amount = f"{search.num_simulations} simulations a move" if search else "no search"
    _tell(writer, f"{opened.config.name} at step {checkpoint_step}, {amount}.")
    outcome = match.play(reader, writer, person_begins=first == "you")
    return {
        "run": str(opened.directory.path),
        "checkpoint_step": checkpoint_step,
        "game": game,
        "num_simulations": search.num_simulations if search else 0,
        "first": first,
        "seed": seed,
        "moves": [
            {"player": turn.player, "move": notation.moves[turn.action], "value": turn.value}
            for turn in match.turns
        ],
        "outcome": outcome,
        "score": match.score,
    }


def make_think(
    params: Params, environment: Environment, model: BoardModel, search: SearchConfig | None
) -> Think:
    """A function that is compiled once; without a search it asks the policy alone."""

    @jax.jit
    def compute(params: Params, state: Any, key: jax.Array):
        states = jax.tree.map(lambda x: x[None], state)
        if search is None:
            log_probs, value = evaluate_positions(params, states, environment, model)
            zeros = jnp.zeros_like(log_probs)
            action = jnp.argmax(log_probs, axis=1)
            parts = action, jnp.exp(log_probs), zeros.astype(jnp.int32), zeros, value
        else:
            result = search_moves(params, key[None], states, environment, model, search)
            parts = (
                *(result.action, result.improved_policy, result.visit_counts),
                *(result.action_values, result.root_value),
            )
        return jax.tree.map(lambda x: x[0], parts)

    def think(state: Any, key: jax.Array) -> Thought:
        action, policy, visits, values, value = map(np.asarray, compute(params, state, key))
        return Thought(int(action), policy, visits, values, float(value))

    return think


def game_keys(seed: int, moves: int) -> tuple[jax.Array, jax.Array]:
    """Keys of the game's own chance and of the search, behind so many moves."""
    chance_key, search_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), moves))
    return chance_key, search_key


class Match:
    """One game, with all positions that led to the present one.

    Attributes:
        state: the position.
        turns: the moves that were played and not taken back.
    """

    def __init__(
        self,
        environment: Environment,
        notation: Notation,
        think: Think,
        seed: int = 0,
        reward_scale: float = 1.0,
    ):
        self.notation, self._think = notation, think
        self._seed, self._reward_scale = seed, reward_scale
        self._step, self._observe = jax.jit(environment.step), jax.jit(environment.observe)
        self.state: Any = environment.reset(jax.random.key(seed))
        self.turns: list[Turn] = []
        self._beginner = int(self.state.player)

    @property
    def score(self) -> float:
        """The sum of the rewards to the person, as the game itself counts them."""
        return sum(turn.reward for turn in self.turns) / self._reward_scale

    def play(self, reader: TextIO, writer: TextIO, person_begins: bool) -> str:
        """Plays to the end: "win", "loss" or "draw" of the person, "over", "cut" or "left".

        "over" is the end of a game without an opponent, "cut" that of one with too many moves.
        """
        opening = f"{'You begin' if person_begins else 'The run begins'}{self.notation.rule}"
        _tell(writer, f"{opening} Type a move, or {COMMANDS}.")
        self._show(writer)
        while not finished(self.state):
            if self._beginner_moves() != person_begins:
                self._answer(writer)
            elif not self._ask(reader, writer):
                _tell(writer, "The game is left.")
                return "left"
        outcome = self._outcome()
        _tell(writer, _SENTENCES[outcome].format(score=f"{self.score:g}"))
        return outcome

    def legal(self) -> str:
        """The legal moves, as they are typed."""
        return self.notation.names(np.asarray(self.state.legal_action_mask))

    def move(self, action: int, player: str, value: float | None = None) -> None:
        """Plays a legal move."""
        key, _ = game_keys(self._seed, len(self.turns))
        after = self._step(self.state, action, key)
        reward = float(after.reward) * (1 if player == "you" else -1)
        self.turns.append(Turn(self.state, action, player, reward, value))
        self.state = after

    def take_back(self) -> bool:
        """Goes back to before the person's last move; False where there is none."""
        if all(turn.player != "you" for turn in self.turns):
            return False
        while True:
            turn = self.turns.pop()
            self.state = turn.state
            if turn.player == "you":
                return True

    def think(self) -> Thought:
        """Searches the position, and returns the run's view of it."""
        _, key = game_keys(self._seed, len(self.turns))
        return self._think(self.state, key)

    def _beginner_moves(self) -> bool:
        return int(self.state.player) == self._beginner

    def _show(self, writer: TextIO) -> None:
        board = self.notation.draw(np.asarray(self._observe(self.state)), self._beginner_moves())
        _tell(writer, f"\n{board}\n" if board else "")

    def _answer(self, writer: TextIO) -> None:
        """The run plays a move."""
        _tell(writer, "thinking ...")
        thought = self.think()
        value = float(thought.values[thought.action]) if thought.visits.any() else thought.value
        self.move(thought.action, "run", value)
        _tell(writer, f"The run plays {self.notation.moves[thought.action]}.")
        _tell(writer, top_moves(thought, self.notation))
        self._show(writer)

    def _ask(self, reader: TextIO, writer: TextIO) -> bool:
        """Does what the person types, until they have moved; False where they leave."""
        _tell(writer, f"moves: {self.legal()}")
        while True:
            _tell(writer, "your move> ", end="")
            line = read_line(reader)
            if line is None:
                _tell(writer, "")
                return False
            word = line.lower()
            action = self.notation.read(word)
            if action is not None and self.state.legal_action_mask[action]:
                self.move(action, "you")
                self._show(writer)
                return True
            if word == "quit":
                return False
            if word == "back":
                if self.take_back():
                    self._show(writer)
                    # Before it the run may have moved first, or the person twice: ask anew.
                    return True
                _tell(writer, "There is no move of yours to take back.")
            elif word == "hint":
                _tell(writer, top_moves(self.think(), self.notation))
            elif word == "help":
                _tell(writer, HELP)
            elif word:
                said = f"{line[:40]!a} is no legal move here"
                _tell(writer, f"{said}: type one of {self.legal()}, or {COMMANDS}.")

    def _outcome(self) -> str:
        if all(turn.player == "you" for turn in self.turns):
            return "over"
        if not self.state.terminated:
            return "cut"
        return "win" if self.score > 0 else "loss" if self.score < 0 else "draw"


_SENTENCES = {
    "win": "You win.",
    "loss": "The run wins.",
    "draw": "It is a draw.",
    "over": "The game is over: your score is {score}.",
    "cut": "The game has lasted too long and is broken off.",
}


def top_moves(thought: Thought, notation: Notation) -> str:
    """The best moves, one a line; the one that the run would play is the first."""
    order = np.lexsort((-thought.policy, -thought.visits))
    order = [thought.action, *order[order != thought.action].tolist()]
    searched = bool(thought.visits.any())
    lines = []
    for action in order[:TOP_MOVES]:
        visits, share = int(thought.visits[action]), 100 * float(thought.policy[action])
        if searched and not visits or not searched and share < 0.5:
            continue
        line = f"  {notation.moves[action]:>5} {share:4.0f}%"
        if searched:
            line += f"  {visits:4} visits  value {_signed(float(thought.values[action]))}"
        lines.append(line)
    return "\n".join([*lines, f"  value of the position {_signed(thought.value)}"])


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # and never -0.00


def read_line(reader: TextIO) -> str | None:
    """The next line without what surrounds it, None at the end; one too long is cut."""
    line = part = reader.readline(LONGEST_LINE)
    while part and not part.endswith("\n"):
        part = reader.readline(LONGEST_LINE)
    return line.strip() if line else None


def _tell(writer: TextIO, text: str, end: str = "\n") -> None:
    writer.write(text + end)
    writer.flush()

import functools
import io
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.arena.notation import Notation, make_notation
from rlsearch.arena.play import Match, Thought, make_think, read_line, top_moves
from rlsearch.config import SearchConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.search.moves import evaluate, search_moves
from tests.boards import jitted

BOARDS = {
    "tic_tac_toe": ("5 1 9", " O | 2 | 3\n---+---+---\n 4 | X | 6\n---+---+---\n 7 | 8 | X"),
    "connect_four": (
        "4 4 5",
        " . . . . . . .\n" * 4 + " . . . O . . .\n . . . X X . .\n 1 2 3 4 5 6 7",
    ),
    "othello": (
        "d3 C3",
        "   a b c d e f g h\n"
        " 1 . . . . . . . . 1\n 2 . . . . . . . . 2\n 3 . . O X . . . . 3\n"
        " 4 . . . O X . . . 4\n 5 . . . X O . . . 5\n 6 . . . . . . . . 6\n"
        " 7 . . . . . . . . 7\n 8 . . . . . . . . 8",
    ),
    "go_9x9": (
        "a2 a1 j9 pass b1",  # the stone at a1 is taken
        "   a b c d e f g h j\n 9 . . . . . . . . X 9\n"
        + "".join(f" {row} . . . . . . . . . {row}\n" for row in range(8, 2, -1))
        + " 2 X . . . . . . . . 2\n 1 . X . . . . . . . 1",
    ),
    "hex": (
        "b1 swap k11",
        "   a b c d e f g h i j k\n 1 . . . . . . . . . . . 1\n  2 O . . . . . . . . . . 2\n"
        + "".join(
            f"{' ' * row}{row + 1:>2} . . . . . . . . . . . {row + 1}\n" for row in range(2, 10)
        )
        + "          11 . . . . . . . . . . X 11",
    ),
}


def notation_of(game: str) -> tuple[PgxGame, Notation]:
    environment = jitted(game)[0]
    return environment, make_notation(environment)


def board_after(game: str, moves: str):
    """The state after `moves`, and the board as text."""
    _, reset, step, observe = jitted(game)
    _, notation = notation_of(game)
    state = reset(jax.random.key(0))
    beginner = int(state.player)
    for move in moves.split():
        action = notation.read(move)
        assert action is not None and state.legal_action_mask[action]
        state = step(state, jnp.int32(action), jax.random.key(1))
    return state, notation.draw(np.asarray(observe(state)), int(state.player) == beginner)


@pytest.mark.parametrize("game", BOARDS)
def test_boards_after_known_moves(game):
    moves, board = BOARDS[game]
    environment, notation = notation_of(game)
    assert len(set(notation.moves)) == environment.num_actions
    assert board_after(game, moves)[1] == board


def test_who_begins_at_hex_joins_top_and_bottom():
    _, notation = notation_of("hex")
    sides = zip("bcdefghijk", range(1, 11), strict=True)
    moves = " ".join(f"a{row} {letter}1" for letter, row in sides) + " a11"
    state, board = board_after("hex", moves)
    assert state.terminated and state.reward == 1
    assert [line.split()[1] for line in board.splitlines()[1:]] == ["X"] * 11
    assert "X, which joins top and bottom" in notation.rule


def test_tiles_and_their_moves():
    _, notation = notation_of("2048")
    _, reset, step, observe = jitted("2048")
    seen = np.zeros((4, 4, 31))
    seen[..., 0] = 1
    seen[3, 0], seen[0, 3] = np.eye(31)[11], np.eye(31)[1]
    rows = [line.split() for line in notation.draw(seen, True).splitlines()]
    assert rows == [[".", ".", ".", "2"], ["."] * 4, ["."] * 4, ["2048", ".", ".", "."]]
    # What slides left stands in the first column, but for the one tile that is new.
    left = jnp.int32(notation.moves.index("left"))
    after = step(reset(jax.random.key(0)), left, jax.random.key(3))
    tiles = np.asarray(observe(after))[..., 1:].any(axis=-1)
    assert tiles.sum() == 3 and tiles[:, 1:].sum() <= 1


def test_other_games_have_numbers_for_moves():
    environment: Any = Dice([0, 1])
    environment.game = "othello"  # a class of the user's own is not the game that it may name
    notation = make_notation(environment)
    assert notation.moves == ("0", "1") and notation.read(" 1 ") == 1
    assert notation.draw(np.zeros((1, 1, 1)), True) == ""
    environment.observation_shape = (2, 2, 3)
    notation = make_notation(environment)
    seen = np.array([[[0, 1, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 1]]])
    assert notation.draw(seen, True) == " 1 .\n 0 2"
    environment.observation_shape = (2, 2, 100)
    assert make_notation(environment).draw(np.zeros((2, 2, 100)), True) == ""


def test_many_legal_moves_are_listed_as_spans():
    _, notation = notation_of("go_9x9")
    legal = np.ones(82, bool)
    legal[[1, 13, 15, 80]] = False  # b9, e8, g8, j1
    assert notation.names(legal) == (
        "a9 c9-j9 a8-d8 f8 h8-j8 a7-j7 a6-j6 a5-j5 a4-j4 a3-j3 a2-j2 a1-h1 pass"
    )
    legal[:60] = False
    assert notation.names(legal).split()[:3] == ["g3", "h3", "j3"]


# ---- Games, against a run that plays the first legal move --------------------------------------


def first_legal(state, key) -> Thought:
    """A run that likes the first legal move, and says so."""
    del key
    legal = np.asarray(state.legal_action_mask)
    action = int(np.argmax(legal))
    policy = np.where(np.arange(legal.size) == action, 1.0, 0.0)
    visits = policy.astype(np.int32) * 8
    return Thought(action, policy, visits, 0.25 * policy, 0.5)


@pytest.fixture(scope="module")
def tic_tac_toe():
    return notation_of("tic_tac_toe")


def played(tic_tac_toe, lines: str, person_begins: bool = True, think=first_legal):
    """The match, its outcome and all that was said."""
    match, writer = Match(*tic_tac_toe, think), io.StringIO()
    outcome = match.play(io.StringIO(lines), writer, person_begins)
    return match, outcome, writer.getvalue()


def moves_of(match: Match) -> str:
    return " ".join(match.notation.moves[turn.action] for turn in match.turns)


@pytest.mark.parametrize(
    ("lines", "person_begins", "outcome", "score", "said"),
    [
        ("7\n8\n9\n", True, "win", 1.0, "You win."),
        ("4\n7\n8\n", True, "loss", -1.0, "The run wins."),
        ("4\n7\n8\n", False, "loss", -1.0, "The run wins."),
        ("2\n5\n8\n", False, "win", 1.0, "You win."),
        ("5\n3\n4\n8\n9\n", True, "draw", 0.0, "It is a draw."),
    ],
)
def test_outcomes_are_from_the_persons_side(
    tic_tac_toe, lines, person_begins, outcome, score, said
):
    match, got, text = played(tic_tac_toe, lines, person_begins)
    assert (got, match.score) == (outcome, score)
    assert text.rstrip().endswith(said)
    players = ["you", "run"] if person_begins else ["run", "you"]
    assert [turn.player for turn in match.turns] == (players * 5)[: len(match.turns)]


def test_what_is_shown(tic_tac_toe):
    _, _, text = played(tic_tac_toe, "5\n")
    assert text.startswith("You begin, with X. Type a move, or hint, back, help, quit.\n")
    assert "moves: 1 2 3 4 5 6 7 8 9\nyour move> " in text
    assert "The run plays 1.\n      1  100%     8 visits  value +0.25\n" in text
    assert "value of the position +0.50" in text
    assert "\n O | 2 | 3\n---+---+---\n 4 | X | 6\n" in text
    assert "moves: 2 3 4 6 7 8 9\n" in text
    _, _, text = played(tic_tac_toe, "5\n", person_begins=False)
    assert (
        text.startswith("The run begins, with X.") and " X | 2 | 3\n---+---+---\n 4 | O |" in text
    )


@pytest.mark.parametrize(
    "line", ["1", "10", "0", "-1", "a1", "1 2", "\x00\x1b[2J", "é\u2028", "9" * 5000, "\x7f" * 999]
)
def test_what_is_no_legal_move_is_refused_and_the_game_goes_on(tic_tac_toe, line):
    match, outcome, text = played(tic_tac_toe, f"5\n{line}\n9\n")
    assert moves_of(match) == "5 1 9 2" and outcome == "left"
    refusals = [said for said in text.splitlines() if "is no legal move here" in said]
    assert len(refusals) == 1 and len(refusals[0]) < 300
    assert refusals[0].endswith("type one of 2 3 4 6 7 8 9, or hint, back, help, quit.")
    assert text.isascii() and text.replace("\n", "").isprintable()


def test_long_lines_are_read_in_parts_and_cut():
    reader = io.StringIO("x" * 5000 + "\n  next\r\nlast")
    lines = [read_line(reader) for _ in range(4)]
    assert [len(line or "") for line in lines] == [1000, 4, 4, 0]
    assert lines[1:] == ["next", "last", None]


@pytest.mark.parametrize("lines", ["", "5\n", "5\nquit\n", "5\n QUIT", "\n\n5\n\n"])
def test_the_game_is_left_by_word_or_by_the_end_of_the_input(tic_tac_toe, lines):
    match, outcome, text = played(tic_tac_toe, lines)
    assert outcome == "left" and text.endswith("The game is left.\n")
    assert moves_of(match) == ("5 1" if "5" in lines else "")


def test_back_takes_back_the_move_and_the_reply(tic_tac_toe):
    match, _, text = played(tic_tac_toe, "5\nback\n9\n8\nback\nback\nback\n1\n")
    assert moves_of(match) == "1 2" and text.count("no move of yours to take back") == 1
    # Where the run began, its first move stays.
    match, _, text = played(tic_tac_toe, "5\nback\nback\n9\n", person_begins=False)
    assert moves_of(match) == "1 9 2" and text.count("no move of yours to take back") == 1


def test_hint_and_help_change_nothing(tic_tac_toe):
    match, _, text = played(tic_tac_toe, "hint\nHelp\n5\nhint\n")
    assert moves_of(match) == "5 1"
    assert "your move>       1  100%     8 visits" in text
    assert "your move>       2  100%     8 visits" in text
    assert "back     takes back your last move" in text


# ---- Games of other kinds ----------------------------------------------------------------------


class DiceState(NamedTuple):
    turns: jax.Array  # [players that move], in order
    total: jax.Array
    reward: jax.Array
    moves: jax.Array
    truncated: jax.Array

    @property
    def legal_action_mask(self):
        return jnp.ones(2, bool)

    @property
    def player(self):
        return self.turns[jnp.minimum(self.moves, self.turns.size - 1)]

    @property
    def terminated(self):
        return (self.moves >= self.turns.size) & ~self.truncated


class Dice:
    """Each move throws a die, and its mover gets what it shows, times the action."""

    num_actions, observation_shape, discount = 2, (1, 1, 1), 1.0

    def __init__(self, turns, cut: bool = False):
        self.turns, self.cut = jnp.array(turns), cut

    def reset(self, key):
        zero = jnp.zeros((), jnp.int32)
        return DiceState(self.turns, zero, jnp.float32(0), zero, jnp.zeros((), bool))

    def step(self, state, action, key):
        shown = action * jax.random.randint(key, (), 1, 1_000_000)
        moves = state.moves + 1
        cut = (moves >= self.turns.size) & self.cut
        return DiceState(self.turns, state.total + shown, shown.astype(jnp.float32), moves, cut)

    def observe(self, state):
        return state.total.astype(jnp.float32).reshape(1, 1, 1)


def dice(turns, lines: str, cut: bool = False, **options):
    environment = Dice(turns, cut)
    notation = make_notation(environment)
    match, writer = Match(environment, notation, first_legal, **options), io.StringIO()
    return match, match.play(io.StringIO(lines), writer, person_begins=True), writer.getvalue()


def test_a_player_may_move_several_times_in_a_row():
    match, outcome, _ = dice([7, 7, 3, 3, 7], "1\n0\n1\n")
    assert [turn.player for turn in match.turns] == ["you", "you", "run", "run", "you"]
    assert outcome == "win" and match.score == match.turns[0].reward + match.turns[4].reward > 0
    match, _, _ = dice(
        [7, 7, 3, 3, 7], "1\n0\nback\n1\n"
    )  # the run's two moves go with one of ours
    assert [turn.action for turn in match.turns] == [1, 1, 0, 0]


def test_rewards_of_the_run_count_against_the_person():
    def greedy(state, key):
        return first_legal(state, key)._replace(action=1)

    environment = Dice([0, 1])
    notation = make_notation(environment)
    match = Match(environment, notation, greedy)
    assert match.play(io.StringIO("0\n"), io.StringIO(), True) == "loss"
    assert match.score == -float(match.state.reward) < 0


def test_a_game_of_one_player_ends_with_a_score():
    match, outcome, text = dice([0, 0, 0], "1\nhint\n0\n1\n", reward_scale=2.0)
    rewards = [turn.reward for turn in match.turns]
    assert rewards[0] > 0 == rewards[1] and match.score == sum(rewards) / 2
    assert outcome == "over" and f"your score is {match.score:g}" in text
    assert "visits" in text and "The run plays" not in text


def test_a_move_played_again_has_the_same_luck():
    match, _, _ = dice([0, 0, 0], "1\n1\nback\nback\n1\n1\n1\n", seed=5)
    same, _, _ = dice([0, 0, 0], "1\n1\n1\n", seed=5)
    other, _, _ = dice([0, 0, 0], "1\n1\n1\n", seed=6)
    assert match.score == same.score != other.score
    assert len({turn.reward for turn in match.turns}) == 3


def test_a_game_that_is_broken_off_has_no_winner():
    _, outcome, text = dice([0, 1], "1\n", cut=True)
    assert outcome == "cut" and "broken off" in text and "win" not in text


# ---- What the run thinks -----------------------------------------------------------------------


class Linear:
    """A network of one layer: it compiles at once, and likes no two moves alike."""

    def evaluate(self, params, observations):
        flat = observations.reshape(len(observations), -1) + 0.1
        return flat @ params, jnp.tanh((flat @ params).mean(axis=1))


def test_the_run_thinks_as_its_search_does(tic_tac_toe):
    environment, notation = tic_tac_toe
    params = jnp.float32(np.random.default_rng(0).standard_normal((18, 9)))
    model: Any = Linear()
    config = SearchConfig(actions="moves", num_simulations=12, gumbel_scale=0.0)
    state, _ = board_after("tic_tac_toe", "5 1 4")
    states, key = jax.tree.map(lambda x: x[None], state), jax.random.key(4)

    thought = make_think(params, environment, model, config)(state, key)
    run_search = jax.jit(lambda *x: search_moves(*x, environment, model, config))
    result = run_search(params, key[None], states)
    assert thought.action == result.action[0] and thought.visits.sum() == 12
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(thought.policy, result.improved_policy[0])
    close(thought.values, result.action_values[0])
    close(thought.value, result.root_value[0])
    lines = top_moves(thought, notation).splitlines()
    assert lines[0].split()[0] == notation.moves[thought.action] and 3 <= len(lines) <= 6
    assert len({line.split()[0] for line in lines}) == len(lines)
    shown = [int(line.split()[2]) for line in lines[1:-1]]
    assert shown == sorted(shown, reverse=True)

    thought = make_think(params, environment, model, None)(state, key)
    log_probs, value = evaluate(params, states, environment, model)
    assert thought.action == int(log_probs[0].argmax()) and not thought.visits.any()
    close(thought.policy, np.exp(log_probs[0]))
    close(thought.value, value[0])
    assert thought.policy[[4, 0, 3]].tolist() == [0, 0, 0]
    lines = top_moves(thought, notation).splitlines()
    assert lines[0].split()[0] == notation.moves[thought.action]
    assert not any("visits" in line for line in lines)

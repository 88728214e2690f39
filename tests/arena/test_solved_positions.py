import functools
import os
import pathlib

import jax
import numpy as np
import pytest

from rlsearch.arena import solved_positions as solved
from rlsearch.arena.solved_positions import lost_lines, read_solved_positions, solve_game
from tests.boards import TURNS, TWICE, DiceGame, OneGoodMove, TableGame, pgx_game, play_out

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
CONNECT_FOUR = pathlib.Path(__file__).resolve().parents[3] / "shared/data/connect4/positions.csv"


def has_won(stones: frozenset) -> bool:
    return any(stones.issuperset(line) for line in LINES)


@functools.cache
def minimax(mine: frozenset, theirs: frozenset) -> dict[int, int]:
    """The outcome of every legal move, to who moves."""
    outcomes = {}
    for cell in set(range(9)) - mine - theirs:
        stones = mine | {cell}
        if has_won(stones):
            outcomes[cell] = 1
        elif len(stones | theirs) == 9:
            outcomes[cell] = 0
        else:
            outcomes[cell] = -max(minimax(theirs, stones).values())
    return outcomes


@pytest.fixture(scope="module")
def tic_tac_toe():
    return solve_game(pgx_game("tic_tac_toe"))


def stones(graph) -> list[tuple[frozenset, frozenset]]:
    """The stones of who moves, and of the other, in every position."""
    observe = jax.jit(jax.vmap(pgx_game("tic_tac_toe").observe))
    seen = np.asarray(observe(graph.positions.states)).reshape(-1, 9, 2)
    return [
        (frozenset(np.flatnonzero(row[:, 0]).tolist()), frozenset(np.flatnonzero(row[:, 1])))
        for row in seen
    ]


def test_all_of_tic_tac_toe_is_found_and_solved(tic_tac_toe):
    outcomes, positions = tic_tac_toe.positions.outcomes, stones(tic_tac_toe)
    minimax(frozenset(), frozenset())
    assert len(outcomes) == len(positions) == 4520
    assert len(set(positions)) == 4520 == minimax.cache_info().currsize
    for row, (mine, theirs) in enumerate(positions):
        expected = minimax(mine, theirs)
        assert {cell: outcomes[row, cell] for cell in expected} == expected
        assert np.isnan(np.delete(outcomes[row], list(expected))).all()
    assert np.nanmax(outcomes[tic_tac_toe.start]) == 0.0


def test_moves_lead_where_the_rules_say(tic_tac_toe):
    positions = stones(tic_tac_toe)
    number = {position: row for row, position in enumerate(positions)}
    for row, (mine, theirs) in enumerate(positions):
        for cell in range(9):
            behind = (theirs, mine | {cell})
            legal = cell not in mine | theirs
            assert tic_tac_toe.children[row, cell] == (number.get(behind, -1) if legal else -1)


def test_a_move_keeps_the_value_where_none_leads_to_more(tic_tac_toe):
    positions, graph = stones(tic_tac_toe), tic_tac_toe.positions
    first = np.array([min(minimax(*position)) for position in positions])
    best = [max(minimax(*position).values()) for position in positions]
    keeps = [
        minimax(*position)[move] == most
        for position, move, most in zip(positions, first, best, strict=True)
    ]
    np.testing.assert_array_equal(graph.keeps_value(first), keeps)
    matters = [len(set(minimax(*position).values())) > 1 for position in positions]
    np.testing.assert_array_equal(graph.matters, matters)
    assert 0 < sum(keeps) < len(keeps)


def ways_to_lose(choose) -> int:
    """Positions and last moves by which a player who uses `choose` has lost."""
    lost, seen = set(), set()

    def visit(mine, theirs, ours):
        if (mine, theirs, ours) in seen:
            return
        seen.add((mine, theirs, ours))
        for cell in [choose(mine, theirs)] if ours else minimax(mine, theirs):
            after = mine | {cell}
            if has_won(after):
                lost.update([] if ours else [(mine, theirs, cell)])
            elif len(after | theirs) < 9:
                visit(theirs, after, not ours)

    for ours in (True, False):
        visit(frozenset(), frozenset(), ours)
    return len(lost)


def test_who_plays_perfectly_never_loses(tic_tac_toe):
    outcomes = tic_tac_toe.positions.outcomes
    assert lost_lines(tic_tac_toe, np.nanargmax(outcomes, axis=1)) == 0


def test_every_way_of_losing_is_counted(tic_tac_toe):
    first = np.argmin(np.isnan(tic_tac_toe.positions.outcomes), axis=1)
    expected = ways_to_lose(lambda mine, theirs: min(minimax(mine, theirs)))
    assert lost_lines(tic_tac_toe, first) == expected > 0


@pytest.mark.parametrize("players", [TURNS, TWICE])
def test_a_game_in_which_one_moves_twice_is_solved_too(players):
    game = TableGame(players)
    graph = solve_game(game)
    paths = [tuple(row[row >= 0].tolist()) for row in graph.positions.states.path]
    assert sorted(paths) == sorted(game.nodes())
    for row, path in enumerate(paths):
        for action in range(3):
            outcome = graph.positions.outcomes[row, action]
            if game.legal(path)[action]:
                assert outcome == game.outcome((*path, action))
            else:
                assert np.isnan(outcome)


def losing_leaves(game, choose) -> int:
    """As `lost_lines`, where whose turn it is stands in the game."""

    def visit(path, us):
        if len(path) == game.depth:
            return int((game.table[path] < 0) == (us == 0))
        ours = game.players[len(path)] == us
        moves = [choose(path)] if ours else np.flatnonzero(game.legal(path))
        return sum(visit((*path, int(action)), us) for action in moves)

    return visit((), 0) + visit((), 1)


@pytest.mark.parametrize(
    "players",
    [TURNS, TWICE],
)
def test_lost_lines_are_those_of_the_games_own_turns(players):
    game = TableGame(players)
    graph = solve_game(game)
    first = np.argmin(np.isnan(graph.positions.outcomes), axis=1)
    assert lost_lines(graph, first) == losing_leaves(game, lambda path: 0) > 0


def test_a_game_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(solved, "MAX_POSITIONS", 30)
    with pytest.raises(ValueError, match="more than 30 positions"):
        solve_game(TableGame(TURNS))


def test_positions_that_take_too_much_are_refused(monkeypatch):
    monkeypatch.setattr(solved, "MAX_BYTES", 4000)
    with pytest.raises(ValueError, match="its positions take more than 4000 bytes"):
        solve_game(TableGame(TURNS))


def test_a_game_is_solved_in_parts_as_at_once(monkeypatch):
    whole = solve_game(TableGame(TURNS))
    monkeypatch.setattr(solved, "_BYTES_AT_ONCE", 1)
    parts = solve_game(TableGame(TURNS))
    np.testing.assert_array_equal(whole.positions.outcomes, parts.positions.outcomes)
    np.testing.assert_array_equal(whole.children, parts.children)


@pytest.mark.parametrize("game", [pgx_game("2048"), pgx_game("backgammon"), DiceGame()])
def test_a_game_of_chance_is_refused_before_the_work(game, monkeypatch):
    monkeypatch.setattr(solved, "_make_after", lambda _: pytest.fail("it is being solved"))
    with pytest.raises(ValueError, match="this is a game of chance: it cannot be solved"):
        solve_game(game)


def large(game: str):
    return pytest.param(game, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "game", ["connect_four", "othello", *map(large, ("go_19x19", "gardner_chess"))]
)
def test_a_large_game_is_refused_before_the_work(game, monkeypatch):
    monkeypatch.setattr(solved, "_make_after", lambda _: pytest.fail("it is being solved"))
    said = r"more than 100000 positions, of over \d+\.\d GiB; solve it elsewhere.*--positions"
    with pytest.raises(ValueError, match=said):
        solve_game(pgx_game(game))


HEADER = "moves," + ",".join(f"score_{column}" for column in range(1, 8))
FULL = "1111112"  # the first column has six stones


def write(path, *lines) -> str:
    (path / "positions.csv").write_text("\n".join((HEADER, *lines)) + "\n")
    return str(path / "positions.csv")


@pytest.fixture(scope="module")
def connect_four():
    return pgx_game("connect_four")


def test_a_file_of_positions_is_read(connect_four, tmp_path):
    path = write(tmp_path, ",-1,-1,-2,5,-2,-1,-1", f"{FULL},,0,0,-3,0,0,0", "44,0,0,0,0,0,0,2")
    positions = read_solved_positions(path, connect_four)
    nan = np.nan
    expected = [[-1, -1, -1, 1, -1, -1, -1], [nan, 0, 0, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(positions.outcomes, expected)
    assert positions.states.moves.tolist() == [0, 7, 2]
    for row, actions in enumerate(([], [0, 0, 0, 0, 0, 0, 1], [3, 3])):
        seen = connect_four.observe(jax.tree.map(lambda x, row=row: x[row], positions.states))
        there = play_out("connect_four", actions)[-1]
        np.testing.assert_array_equal(seen, connect_four.observe(there))
    assert positions.keeps_value(np.array([3, 3, 6])).tolist() == [True, False, True]
    assert positions.matters.tolist() == [True, True, True]


GOOD = "44,0,0,0,0,0,0,0"


NO_POSITION = [
    ("4a,0,0,0,0,0,0,0", "'4a' is no position of this game"),
    ("48,0,0,0,0,0,0,0", "'48' is no position"),
    ("40,0,0,0,0,0,0,0", "'40' is no position"),
    ("44,0,0,many,0,0,0,0", "'44' is no position"),
    ("44,,,,,,,", "'44' is no position"),
    ("44", "'44' is no position"),
    (f"{'4' * 1001},0,0,0,0,0,0,0", "'4444.*' is no position"),
    ('"44,0,0,0,0,0,0,0', "it cannot be taken apart"),
    ("1111111,0,0,0,0,0,0,0", "'1111111' is no position"),
    ("11111112,0,0,0,0,0,0,0", "'11111112' is no position"),
    ("1212121,0,0,0,0,0,0,0", "'1212121' is no position"),
    ("12121214,0,0,0,0,0,0,0", "'12121214' is no position"),
    (f"{FULL},1,0,0,-3,0,0,0", "the scores are not those of the legal moves"),
    ("44,0,0,0,0,0,0,", "the scores are not"),
]


@pytest.mark.parametrize(("line", "said"), NO_POSITION)
def test_a_file_of_a_line_that_is_wrong_is_refused(connect_four, tmp_path, line, said):
    with pytest.raises(ValueError, match=f"line 2: {said}.*none of its lines are positions"):
        read_solved_positions(write(tmp_path, line), connect_four)


def test_lines_that_are_wrong_cost_the_others_nothing(connect_four, tmp_path, capsys):
    wrong = [line for line, _ in NO_POSITION]
    positions = read_solved_positions(write(tmp_path, GOOD, *wrong, GOOD), connect_four)
    np.testing.assert_array_equal(positions.outcomes, np.zeros((2, 7)))
    assert positions.states.moves.tolist() == [2, 2] and positions.left_out == len(wrong)
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"{len(wrong)} lines were left out (line 3: '4a' is" in told
    assert "line 4: '48'" in told and f"{len(wrong) - 3} more); 2 were read" in told


WRITTEN = {
    "byte order mark": ("\ufeff" + HEADER, "44,0,0,0,0,0,0,2"),
    "byte order mark without a header": ("\ufeff44 0 0 0 0 0 0 2",),
    "semicolons": (HEADER.replace(",", ";"), "44;0;0;0;0;0;0;2"),
    "tabs": (HEADER.replace(",", "\t"), "44\t0\t0\t0\t0\t0\t0\t2"),
    "spaces behind commas": (HEADER.replace(",", ", "), "44, 0, 0, 0, 0, 0, 0, 2"),
    "quotes": (HEADER, '"44", "0", 0, 0, 0, 0, 0, "2"'),
    "spaces": (HEADER.replace(",", " "), "44  0 0 0 0 0 0 2"),
    "spaces without a header": ("44 0 0 0 0 0 0 2",),
    "commas without a header": ("44,0,0,0,0,0,0,2",),
    "capitals": (
        "Moves,Score 1,SCORE_2,score3,Score-4,score_5,score_6,score_7",
        "44,0,0,0,0,0,0,2",
    ),
    "other columns": (f"id,{HEADER},by", "7,44,0,0,0,0,0,0,2,me"),
    "another order": (
        "score_7,score_1,moves,score_2,score_3,score_4,score_5,score_6",
        "2,0,44" + 5 * ",0",
    ),
    "a spreadsheet's": ("sep=;", HEADER.replace(",", ";"), "44;0;0;0;0;0;0;2"),
    "comments": ("# by a solver", HEADER, "", "# easy", "44,0,0,0,0,0,0,2"),
    "moves apart": (HEADER, "4 4,0,0,0,0,0,0,2"),
}


@pytest.mark.parametrize("lines", WRITTEN.values(), ids=WRITTEN)
def test_a_table_is_read_however_it_is_written(connect_four, tmp_path, lines):
    path = tmp_path / "positions.csv"
    for end in ("\n", "\r\n"):
        path.write_bytes(end.join([*lines, ""]).encode())
        positions = read_solved_positions(str(path), connect_four)
        np.testing.assert_array_equal(positions.outcomes, [[0, 0, 0, 0, 0, 0, 1]])
        assert positions.states.moves.tolist() == [2] and positions.left_out == 0


def test_a_table_may_be_utf_16(connect_four, tmp_path):
    path = tmp_path / "positions.csv"
    path.write_bytes(f"{HEADER}\n{GOOD}\n".encode("utf-16"))
    assert len(read_solved_positions(str(path), connect_four).outcomes) == 1


def test_illegal_moves_are_marked_in_many_ways(connect_four, tmp_path):
    marks = ("", " ", "-", "x", "NaN", "None", "-1000")
    path = write(tmp_path, *(f"{FULL},{mark},0,0,-3,0,0,0" for mark in marks))
    outcomes = read_solved_positions(path, connect_four).outcomes
    assert len(outcomes) == len(marks) and np.isnan(outcomes[:, 0]).all()


def test_games_of_many_moves_are_written_with_numbers(tmp_path):
    game = OneGoodMove()
    names = ["moves", *(f"score_{action + 1}" for action in range(16))]
    (tmp_path / "positions.csv").write_text(f"{','.join(names)}\n,{','.join(['1'] * 16)}\n")
    assert read_solved_positions(str(tmp_path / "positions.csv"), game).outcomes.shape == (1, 16)
    environment = pgx_game("othello")
    scores = ["0" if action in (18, 20, 34) else "" for action in range(65)]
    header = ",".join(["moves", *(f"score_{action + 1}" for action in range(65))])
    rows = [f"{moves},{','.join(scores)}" for moves in ("20", "2 0", "66", "20 20")]
    (tmp_path / "positions.csv").write_text("\n".join([header, *rows]))
    positions = read_solved_positions(str(tmp_path / "positions.csv"), environment)
    assert positions.states.moves.tolist() == [1] and positions.left_out == 3


@pytest.mark.parametrize(
    "lines", [("moves score", "32164625 11"), ("32164625 11",), ("moves,score", "44,1")]
)
def test_one_score_a_position_is_said_to_be_too_little(connect_four, tmp_path, lines):
    (tmp_path / "positions.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="its one score is of a position, and that of each move"):
        read_solved_positions(str(tmp_path / "positions.csv"), connect_four)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("MAX_FILE_BYTES", "at most 1 bytes"),
        ("MAX_ROWS", "2 positions: at most 1"),
        ("MAX_BYTES", "at most 0"),
    ],
)
def test_every_limit_is_named(connect_four, tmp_path, monkeypatch, limit, said):
    monkeypatch.setattr(solved, limit, 1)
    with pytest.raises(ValueError, match=said):
        read_solved_positions(write(tmp_path, GOOD, GOOD), connect_four)


@pytest.mark.parametrize(
    "path", ["http://localhost/positions.csv", "nowhere://x", "a\0b", "/dev/zero", "/tmp"]
)
def test_what_is_no_regular_file_is_refused(connect_four, path):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_solved_positions(path, connect_four)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_and_not_waited_for(connect_four, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe"):
        read_solved_positions(str(tmp_path / "pipe"), connect_four)


def test_games_of_chance_have_no_solved_positions(tmp_path):
    (tmp_path / "positions.csv").write_text("moves,score_1,score_2,score_3\n,1,0,0\n")
    with pytest.raises(ValueError, match="game of chance: it cannot have solved positions"):
        read_solved_positions(str(tmp_path / "positions.csv"), DiceGame())


def test_a_file_without_the_columns_is_refused(connect_four, tmp_path):
    path = tmp_path / "positions.csv"
    for text in ("", "moves,score_1,score_2\n", HEADER.replace("moves", "game") + "\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="must have positions, in columns moves, score_1"):
            read_solved_positions(str(path), connect_four)


def test_a_file_that_is_not_there_is_named(connect_four, tmp_path):
    with pytest.raises(FileNotFoundError, match="positions is '.*no.csv': there is no such file"):
        read_solved_positions(str(tmp_path / "no.csv"), connect_four)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", f"{HEADER}\n".encode()])
def test_a_file_without_positions_is_refused_in_a_sentence(connect_four, tmp_path, content):
    path = tmp_path / "positions.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="positions.csv") as caught:
        read_solved_positions(str(path), connect_four)
    assert caught.traceback[-1].frame.f_globals["__name__"].startswith("rlsearch.")


@pytest.mark.skipif(not CONNECT_FOUR.exists(), reason="shared/data/connect4 is not beside the tree")
def test_the_file_of_connect_four_is_read(connect_four):
    positions = read_solved_positions(str(CONNECT_FOUR), connect_four)
    assert len(positions.outcomes) == 1200 and positions.matters.sum() == 701
    random, legal = np.random.default_rng(0), ~np.isnan(positions.outcomes)
    keeps = []
    for _ in range(20):
        drawn = np.argmax(legal * random.random(legal.shape), axis=1)
        keeps.append(positions.keeps_value(drawn)[positions.matters].mean())
    assert abs(100 * np.mean(keeps) - 35) < 4
    best = np.nanargmax(positions.outcomes, axis=1)
    assert positions.keeps_value(best).all()

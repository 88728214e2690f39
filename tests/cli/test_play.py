"""`rlsearch play` on a tiny run of tic-tac-toe, from its standard input to its output."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.boards import write_board_config_file
from tests.commands import call

RESULT_KEYS = {
    *("run", "checkpoint_step", "game", "num_simulations", "first", "seed", "moves", "outcome"),
    "score",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    config = write_board_config_file(folder / "tiny_board.py")
    code, _, err = call("train", config, "--run-dir", folder / "run", "--json")
    assert code == 0, err
    return folder / "run"


# Every cell once: whatever the run replies, each of our moves is found among them.
CELLS = "".join(f"{cell}\n" for cell in range(1, 10))


def test_a_game_from_the_first_move_to_the_last(run):
    code, out, err = call("play", run, lines=CELLS)
    assert code == 0, err
    assert out.startswith("tiny_board at step 4, 3 simulations a move.\nYou begin, with X.")
    ends = ("You win.", "The run wins.", "It is a draw.")
    assert sum(end in out for end in ends) == 1
    moves = out.splitlines()[-1].removeprefix("the game: ").split()
    assert 5 <= len(moves) <= 9 and len(set(moves)) == len(moves) and err == ""


@pytest.mark.parametrize("first", ["you", "run"])
def test_with_json_the_game_is_on_standard_error(run, first):
    code, out, err = call("play", run, "--first", first, "--json", lines=f"hint\n{CELLS}")
    assert code == 0 and out.count("\n") == 1
    result = json.loads(out)
    assert set(result) == RESULT_KEYS and result["run"] == str(run)
    assert (result["checkpoint_step"], result["game"]) == (4, "tic_tac_toe")
    assert (result["num_simulations"], result["first"], result["seed"]) == (3, first, 0)
    assert result["score"] == {"win": 1, "loss": -1, "draw": 0}[result["outcome"]]
    players = [first, {"you": "run", "run": "you"}[first]] * 5
    assert [move["player"] for move in result["moves"]] == players[: len(result["moves"])]
    values = {move["player"]: move["value"] for move in result["moves"]}
    assert values["you"] is None and -1 <= values["run"] <= 1
    assert "your move> " in err and "value of the position" in err
    # Without a new line in between, the moves are those of the same game on standard output.
    _, out, _ = call("play", run, "--first", first, lines=f"hint\n{CELLS}")
    assert out.splitlines()[-1] == "the game: " + " ".join(m["move"] for m in result["moves"])


def test_the_raw_policy_plays_without_a_search(run):
    code, out, _ = call("play", run, "--simulations", 0, lines="5\n")
    assert code == 0 and "step 4, no search." in out
    assert "The run plays" in out and "visits" not in out
    code, out, _ = call("play", run, "--simulations", 2, "--json", lines="5\n")
    result = json.loads(out)
    assert (result["num_simulations"], result["outcome"]) == (2, "left")
    assert [move["player"] for move in result["moves"]] == ["you", "run"]


@pytest.mark.parametrize("lines", ["", "quit\n", None])
def test_a_game_that_is_left_at_once(run, lines):
    code, out, err = call("play", run, lines=lines)
    assert (code, err) == (0, "")
    assert out.endswith("The game is left.\nthe game: no move\n")


def test_bytes_that_are_no_text_are_no_move(run):
    """In a process of its own, with a pipe: there the bytes are decoded."""
    done = subprocess.run(
        [sys.executable, "-m", "rlsearch", "play", str(run), "--simulations", "0", "--json"],
        input=b"\xff\xfe\x00\n5\n" + b"\x80" * 100_000,
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [move["move"] for move in result["moves"]][0] == "5" and result["outcome"] == "left"
    assert done.stderr.count(b"is no legal move here") == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("RUN --first me", "there is no WHO 'me'"),
        ("RUN --simulations -1", "it must be a whole number of at least 0"),
        ("RUN --seed x", "it must be a whole number of at least 0"),
        ("RUN 5", "'5' is one argument too many"),
        ("NOWHERE", "there is no config.json in it"),
        ("LANGUAGE", "it is a run of language, not of self-play"),
        ("ALONE --first run", "first is 'run': 2048 has one player, who must be 'you'"),
        ("EMPTY", "it has no checkpoint yet"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(run, tmp_path, argv, said):
    places = {name: tmp_path / name for name in ("NOWHERE", "LANGUAGE", "ALONE", "EMPTY")}
    for name in ("LANGUAGE", "ALONE"):
        places[name].mkdir()
    (places["LANGUAGE"] / "config.json").write_text('{"kind": "language"}')
    alone = {"kind": "self_play", "environment": {"game": "2048"}}
    (places["ALONE"] / "config.json").write_text(json.dumps(alone))
    shutil.copytree(run, places["EMPTY"], ignore=shutil.ignore_patterns("checkpoints"))
    arguments = [{"RUN": run, **places}.get(word, word) for word in argv.split()]
    code, out, err = call("play", *arguments, lines="5\n")
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert not places["NOWHERE"].exists()

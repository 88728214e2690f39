"""`rlsearch inspect` on a tiny run of each kind."""

import shlex
import shutil

import pytest

from tests.boards import write_board_config_file
from tests.commands import call, read_json
from tests.golden_runs import FOLDER
from tests.tiny import STAGE_ENDS

PAGE_KEYS = {"page", "nodes", "shown", "run", "checkpoint_step", "problem", "seed"}


@pytest.fixture(scope="module")
def board_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    config = write_board_config_file(folder / "tiny.py")
    assert call("train", config, "--run-dir", folder / "run", "--json")[0] == 0
    return str(folder / "run")


@pytest.fixture(scope="module")
def language_run(tmp_path_factory):
    """A run that was saved: pages are written into a copy of it."""
    run = tmp_path_factory.mktemp("language") / "run"
    return str(shutil.copytree(FOLDER / "runs" / "tiny", run))


def test_a_search_over_moves(board_run):
    result = read_json("inspect", board_run, "5 1", "--simulations", 20)
    assert set(result) == PAGE_KEYS | {"search", "num_simulations", "move"}
    assert (result["problem"], result["checkpoint_step"]) == ("5 1", 4)
    assert result["num_simulations"] == 20 and result["nodes"] == result["shown"] == 21
    assert result["page"] == f"{board_run}/evaluations/tree.html"
    with open(result["page"]) as file:
        page = file.read()
    assert page.count('<span class="picture">') == 21
    assert "\n O | 2 | 3\n---+---+---\n 4 | X | 6\n" in page.replace('">', "\n")
    assert "<title>tiny_board: search tree</title>" in page and "<dd>20</dd>" in page
    # It is the search of the same position in a game.
    code, out, _ = call("play", board_run, "--simulations", 20, lines="5\nhint\nquit\n")
    reply = out.splitlines()[-1].split()[-1]
    hint = out.partition("your move> ")[2].partition("your move>")[2].split()[0]
    assert read_json("inspect", board_run, f"5 {reply}", "--simulations", 20)["move"] == hint
    assert read_json("inspect", board_run, "5", "--simulations", 20)["move"] == reply


def test_the_start_of_the_game_and_a_page_elsewhere(board_run, tmp_path):
    page = tmp_path / "new" / "my tree.html"
    result = read_json("inspect", board_run, "", "--out", page)
    assert result["page"] == str(page) and result["problem"] == "" and result["nodes"] == 4
    assert [path.name for path in page.parent.iterdir()] == ["my tree.html"]
    assert ">start</span>" in page.read_text()
    code, out, _ = call("inspect", board_run, "", "--out", page)
    assert (code, out) == (0, f"page: {page} (4 nodes)\n")


def test_a_search_over_steps(language_run, tmp_path):
    asked = ["inspect", language_run, "8 4, 7 8", "--budget", 4, "--out", tmp_path / "a.html"]
    result = read_json(*asked)
    assert set(result) == PAGE_KEYS | {"policy", "budget", "num_simulations", "num_candidates"}
    assert (result["policy"], result["checkpoint_step"]) == ("distilled", STAGE_ENDS["distilled"])
    assert result["problem"] == "24 from 4 7 8 8"
    page = (tmp_path / "a.html").read_text()
    assert 2 <= result["nodes"] == page.count('<span class="picture">')
    assert result["nodes"] <= result["num_simulations"] + 1
    # So little pays for one tree: highlighted is the way to what `solve` answers, or begins with.
    answer = call("solve", language_run, "8 4, 7 8", "--budget", 4)[1].splitlines()[:3]
    chosen = [
        row.partition('class="label"')[2].partition(">")[2].partition("<")[0].strip()
        for row in page.splitlines()
        if ' chosen"' in row
    ]
    assert chosen[0] == "24 from 4 7 8 8"
    steps = [step.replace("&gt;", ">") for step in chosen[1:]]
    assert steps and steps == answer[: len(steps)]
    assert read_json(*asked, "--policy", "base")["policy"] == "base"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("BOARD '5 5'", "its move 2, '5', is not legal there: legal are 1 2 3 4 6 7 8 9"),
        ("BOARD '5 1' --budget 4", "budget is 4: it is for language, and this is self-play"),
        ("BOARD '' --policy base", "policy is 'base': it is for language"),
        ("BOARD '' --simulations 0", "it must be at least 1"),
        ("LANGUAGE '4 7 8'", "it has 3 numbers"),
        ("LANGUAGE '4 7 8 8' --simulations 4", "simulations is 4: language takes a budget"),
        ("LANGUAGE '4 7 8 8' --budget 1", "budget is 1: it pays for no search"),
        ("LANGUAGE '4 7 8 8' --policy best", "policy is 'best': this run has base"),
        ("NOWHERE ''", "there is no config.json in it"),
    ],
)
def test_bad_usage_is_one_sentence(board_run, language_run, tmp_path, argv, said):
    places = {"BOARD": board_run, "LANGUAGE": language_run, "NOWHERE": tmp_path / "nowhere"}
    arguments = [places.get(word, word) for word in shlex.split(argv)]
    code, out, err = call("inspect", *arguments, "--out", tmp_path / "page.html")
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

"""`rlsearch arena` on a tiny run, end to end."""

import json
import re
import shutil

import numpy as np
import pytest

from rlsearch.arena.tournament_picture import draw
from rlsearch.environments.pgx_game import PgxGame
from tests.boards import tiny_board_experiment, write_board_config_file
from tests.commands import call, succeed
from tests.tiny import tiny_experiment
from tests.verifier_run import write_config

ASKED = ("--simulations", 0, 2, "--rollouts", 3, "--games", 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = write_board_config_file(folder / "tiny.py")
    succeed("train", config, "--run-dir", folder / "tiny")
    return folder / "tiny"


def test_arena_writes_the_table_and_the_picture(run):
    out = succeed("arena", run, *ASKED, "--json")
    assert out.count("\n") == 1
    result = json.loads(out)
    assert result["table"] == str(run / "evaluations" / "arena.json")
    assert result["picture"] == str(run / "evaluations" / "arena.png")
    table = json.loads((run / "evaluations" / "arena.json").read_text())
    assert (run / "evaluations" / "arena.png").read_bytes().startswith(b"\x89PNG")
    assert {**table, "table": result["table"], "picture": result["picture"]} == result
    assert (table["benchmark"], table["game"], table["seed"]) == ("arena", "tic_tac_toe", 0)
    assert table["openings"] == {"moves": 4, "pairs": 2}

    players = {row["name"]: row for row in table["players"]}
    assert set(players) == {"random", "mcts_3", "tiny@4-policy", "tiny@4-2"}
    elo = [row["elo"] for row in table["players"]]
    assert elo == sorted(elo, reverse=True)
    assert players["random"]["elo"] == 0.0 and players["random"]["ci95"] == [0.0, 0.0]
    seconds = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    assert players["tiny@4-2"]["settings"] == {
        "kind": "run",
        "run": str(run),
        "checkpoint_step": 4,
        "training_seconds": seconds,
        "num_simulations": 2,
    }
    for row in players.values():
        assert row["games"] == 12 and 0 <= row["score"] <= 1
        assert row["ci95"][0] <= row["elo"] <= row["ci95"][1]
        assert len(row["ci95_from_mean"]) == 2

    points = dict.fromkeys(players, 0.0)
    for row in table["pairings"]:
        assert row["wins"] + row["draws"] + row["losses"] == 4
        for outcome in ("wins", "draws", "losses"):
            sides = [row[f"moving_{side}"][outcome] for side in ("first", "second")]
            assert sum(sides) == row[outcome]
        one, other = row["players"]
        assert row["elo"] == pytest.approx(players[one]["elo"] - players[other]["elo"])
        points[one] += row["wins"] + row["draws"] / 2
        points[other] += row["losses"] + row["draws"] / 2
    assert len(table["pairings"]) == 6
    for name, row in players.items():
        assert row["score"] == pytest.approx(points[name] / 12)


def test_arena_prints_the_ratings_of_all_checkpoints(run, tmp_path):
    shutil.copytree(run, tmp_path / "twin")  # on another mesh than the first
    config = json.loads((run / "config.json").read_text())
    config["parallel"]["data"] = 4
    (tmp_path / "twin" / "config.json").write_text(json.dumps(config))
    asked = ["--rollouts", "--games", 2, "--checkpoints", "all", "--seed", 3, "--opening-moves", 2]
    lines = succeed("arena", run, tmp_path / "twin", *asked).splitlines()
    table = json.loads((run / "evaluations" / "arena.json").read_text())
    assert table["seed"] == 3 and table["openings"] == {"moves": 2, "pairs": 2}
    names = [row["name"] for row in table["players"]]
    runs = {f"{name}@{step}-3" for name in ("tiny", "twin") for step in (3, 4)}
    assert set(names) == {"random", *runs}  # with the simulations of the config's own play
    assert lines[0].startswith("player") and "Elo" in lines[0]
    assert [line.split()[0] for line in lines[1:-2]] == names
    assert [line.split()[1] for line in lines[1:-2]] == [
        f"{row['elo']:.0f}" for row in table["players"]
    ]
    for line, row in zip(lines[1:-2], table["players"], strict=True):
        spans = re.findall(r"(-?[\d.]+) to (-?[\d.]+)", line)
        assert all(float(low) < float(high) for low, high in spans)
        assert len(spans) == 2 or row["name"] == "random" and "anchor" in line
    assert lines[-2].startswith("table: ") and lines[-1].startswith("picture: ")


@pytest.fixture(scope="module")
def places(run, tmp_path_factory):
    """Runs of which there is a config alone."""
    folder = tmp_path_factory.mktemp("configs")
    places = {"RUN": run, "NOWHERE": folder / "nowhere"}
    games = {"FOUR": "connect_four", "ALONE": "2048", "NEW": "tic_tac_toe"}
    configs = {"WORDS": tiny_experiment()}
    for name, game in games.items():
        configs[name] = tiny_board_experiment(environment=PgxGame(game=game))
    for name, config in configs.items():
        places[name] = write_config(folder / name.lower(), config)
    return places


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("RUN FOUR", "four': its game is connect_four, and that of"),
        ("RUN FOUR", "tiny' is tic_tac_toe: an arena is for one game"),
        ("RUN RUN", "tiny': it is given twice"),
        ("ALONE", "alone': 2048 is for one player, and an arena is for two"),
        ("RUN WORDS", "it is a run of language, not of self-play"),
        ("RUN NEW", "new': it has no checkpoint yet"),
        ("RUN NOWHERE", "there is no config.json in it"),
        ("RUN --opening-moves 9", "opening_moves is 9: so many random moves end the game"),
        ("RUN --checkpoints best", "there is no WHICH 'best'"),
        ("RUN --games 0", "it must be at least 1"),
        ("RUN --simulations -1", "--simulations"),
        ("", "RUN"),
    ],
)
def test_bad_usage_is_one_sentence(places, argv, said):
    code, out, err = call("arena", *(places.get(word, word) for word in argv.split()))
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ") and err.count("\n") == 1 and said in err
    assert not (places["NEW"] / "evaluations").exists()


@pytest.mark.parametrize("seconds", [10.0, None])
def test_the_picture_takes_players_of_all_kinds(tmp_path, seconds):
    generator = np.random.default_rng(0)

    def row(name, **settings):
        elo = generator.normal(500, 200)
        return {
            "name": name,
            "settings": settings,
            "elo": elo,
            "ci95_from_mean": [elo - 30, elo + 30],
        }

    players = [row("random", kind="random")]
    for steps in ((), (5, 10)):
        for step in steps:
            settings = {"kind": "run", "checkpoint_step": step, "training_seconds": seconds}
            for number in (0, 16):
                players.append(row(f"a@b@{step}-{number}", num_simulations=number, **settings))
        draw(players, tmp_path / "picture.png", "a game")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")

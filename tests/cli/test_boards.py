"""The commands on a tiny run of self-play, end to end."""

import json
import shutil

import pytest

from tests.boards import tiny_board_experiment, write_board_config_file
from tests.commands import call, fail, read_json, succeed
from tests.tiny import tiny_experiment
from tests.verifier_run import write_config

CONFIG = tiny_board_experiment()
(STAGE,) = CONFIG.stages
ROW_KEYS = {
    *("policy", "checkpoint_step", "strategy", "settings", "verifier", "oracle", "budget", "seed"),
    *("accuracy", "ci95", "problems"),
}
COST_KEYS = {"generations", "policy_tokens", "verifier_tokens", "flops", "seconds"}
BOARD_KEYS = {"accuracy_where_it_matters", "problems_where_it_matters"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_board_config_file(tmp_path_factory.mktemp("config") / "tiny_board.py")


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "tiny_board"
    result = json.loads(succeed("train", config, "--run-dir", run, "--json"))
    assert result["stages"] == {"self_play": STAGE.num_steps}
    assert result["parameters"] > 0 and result["flops"]["self_play"] > 0
    return run


@pytest.fixture(scope="module")
def language_run(tmp_path_factory):
    """A directory with no more than the config of a run on language."""
    return write_config(tmp_path_factory.mktemp("language") / "run", tiny_experiment())


@pytest.fixture(scope="module")
def evaluated(run):
    """What evaluating on all positions printed."""
    asked = ["evaluate", run, "--budgets", 2, 4, "--seeds", 1, "--json"]
    out = succeed(*asked)
    assert out.count("\n") == 1
    return json.loads(out)


def test_evaluate_measures_against_perfect_play(run, evaluated):
    table = json.loads((run / "evaluations" / "solved.json").read_text())
    assert evaluated["table"] == str(run / "evaluations" / "solved.json")
    assert table["benchmark"] == "solved" and table["rows"] == evaluated["rows"]
    rows = table["rows"]
    assert [(row["strategy"], row["budget"], row["seed"]) for row in rows] == [
        ("policy", 1, 0),
        ("tree_search", 3, 1),
        ("tree_search", 5, 1),
    ]
    for row in rows:
        assert ROW_KEYS | BOARD_KEYS | {"lost_lines"} <= set(row)
        assert row["checkpoint_step"] == STAGE.num_steps and not row["oracle"]
        assert row["problems"] == 4520 > row["problems_where_it_matters"] > 0
        assert row["ci95"][0] < row["accuracy"] < row["ci95"][1]
        assert row["accuracy_where_it_matters"] < row["accuracy"]
        assert row["lost_lines"] > 0  # it has learnt next to nothing
    assert [row["settings"] for row in rows[1:]] == [{"num_simulations": n} for n in (2, 4)]


@pytest.mark.slow
def test_bench_train_measures_positions_utilisation_and_shares(config):
    result = read_json("bench", "train", config)
    assert (result["config"], result["stage"], result["devices"]) == ("tiny_board", "self_play", 1)
    per_step = {"positions": 4 * 3, "simulations": 4 * (3 + 1) * 3}
    for name, count in per_step.items():
        rate = count / result["seconds_per_step"]
        assert result[f"{name}_per_second"] == pytest.approx(rate)
    assert result["peak"] == "a product of float32 matrices, measured in this run"
    utilisation = result["flops_per_second"] / result["peak_flops_per_second"]
    assert result["mfu"] == pytest.approx(utilisation) and 0 < utilisation < 1
    shares = [result[f"{name}_share"] for name in ("search", "update", "host")]
    assert sum(shares) == pytest.approx(1.0) and all(-1 < share < 1 for share in shares)


def test_rows_have_the_cost_too(evaluated):
    assert all(set(row) >= COST_KEYS for row in evaluated["rows"])


def test_evaluate_reads_a_file_of_positions(run, tmp_path):
    path = tmp_path / "positions.csv"
    header = "moves," + ",".join(f"score_{cell}" for cell in range(1, 10))
    path.write_text(f"{header}\n1425,,,1,,,-1,0,0,0\nodd\n")
    code, out, err = call("evaluate", run, "--positions", path, "--budgets", 2)
    assert code == 0 and "1 line was left out (line 3: 'odd' is no position" in err
    table = json.loads((run / "evaluations" / "solved.json").read_text())
    assert table["left_out"] == 1 and [row["problems"] for row in table["rows"]] == [1, 1]
    low, high = table["rows"][0]["ci95_where_it_matters"]
    assert low < high
    assert [line.split()[0] for line in out.splitlines()] == ["policy", "2", "table:"]
    (row, _) = json.loads((run / "evaluations" / "solved.json").read_text())["rows"]
    assert row["problems"] == 1 and "lost_lines" not in row


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("evaluate RUN --strategies greedy", "--strategies is for language, and this is a run of"),
        ("evaluate RUN --problems 4", "--problems is for language"),
        ("evaluate RUN --policies base", "--policies is for language"),
        ("evaluate RUN --oracle", "--oracle is for language"),
        ("evaluate RUN --positions no.csv", "positions is 'no.csv': there is no such file"),
        ("evaluate RUN --positions BAD", "must have positions, in columns moves, score_1"),
        ("evaluate RUN --positions ODD", "line 2: '0' is no position of this game"),
        ("evaluate RUN --positions http://localhost/p.csv", "must be a path here, or one of a b"),
        ("evaluate LANGUAGE --positions no.csv", "--positions is for games"),
        ("solve RUN 4,7,8,8", "self"),
        ("train CONFIG --self_play.environment.game conect_four", "the nearest is connect_four"),
        (
            "train CONFIG --self_play.environment.game kuhn_poker",
            "self_play.environment.game is 'kuhn_poker'",
        ),
        ("train CONFIG --self_play.environment.gam hex", "the nearest is game;"),
        (
            "train CONFIG --self_play.environment.cls no.such:Game",
            "self_play.environment.cls is 'no.such:Game'",
        ),
        ("train CONFIG --self_play.replay_moves 7", "a multiple of moves_per_step, 3"),
        (
            "train CONFIG --self_play.search.actions steps",
            "self_play.search.actions is 'steps': in a game it must be",
        ),
        ("train CONFIG --parallel.data 8", "must be a multiple of parallel.replica x data, 8"),
        ("train CONFIG --distill.num_steps 3", "distill.num_steps"),
    ],
)
def test_bad_usage_is_one_sentence(run, config, language_run, tmp_path, argv, said):
    (tmp_path / "bad.csv").write_text("moves\n")
    header = "moves," + ",".join(f"score_{cell}" for cell in range(1, 10))
    (tmp_path / "odd.csv").write_text(f"{header}\n0,1\n")
    places = {"CONFIG": config, "RUN": run, "LANGUAGE": language_run}
    places |= {"BAD": tmp_path / "bad.csv", "ODD": tmp_path / "odd.csv"}
    arguments = [places.get(argument, argument) for argument in argv.split()]
    if arguments[0] == "train":
        arguments += ["--run-dir", tmp_path / "new"]
    assert said in fail(*arguments)
    assert not (tmp_path / "new" / "config.json").exists()


def test_a_class_from_elsewhere_is_not_imported(run, tmp_path):
    saved = json.loads((run / "config.json").read_text())
    saved["stages"][0]["environment"]["cls"] = "os:system"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    said = fail("evaluate", tmp_path)
    assert "stages[0].environment.cls is 'os:system': it must be module:Class of an env" in said
    assert "what is data may name rlsearch.*, and what --code FILE defines" in said


def test_a_run_without_a_checkpoint_is_said_to_be_so(run, tmp_path):
    shutil.copy(run / "config.json", tmp_path / "config.json")
    assert "no checkpoint yet" in fail("evaluate", tmp_path)


@pytest.mark.slow
def test_bench_strength_races_the_example(config, tmp_path):
    picture = tmp_path / "curves.png"
    asked = ["bench", "strength", config, "--minutes", 0.001, "--picture", picture]
    result = json.loads(succeed(*asked, "--json"))
    assert set(result["curves"]) == {"example", "rlsearch"} and result["positions"] == 4520
    ((example_seconds, strength),) = result["curves"]["example"]
    ((seconds, _),) = result["curves"]["rlsearch"]
    assert seconds >= example_seconds and result["example_strength"] == strength
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("bench strength CONFIG --minutes 0", "--minutes is 0: it must be positive"),
        ("bench self_play CONFIG --minutes 1", "--minutes is for bench strength alone"),
        (
            "bench strength CONFIG --self_play.environment.game 2048",
            "the example plays for two players",
        ),
    ],
)
def test_bench_strength_refuses_in_one_sentence(config, argv, said):
    places = {"CONFIG": config}
    assert said in fail(*[places.get(argument, argument) for argument in argv.split()])

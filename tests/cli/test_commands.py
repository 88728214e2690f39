"""Every command on one tiny run, end to end."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlsearch.measuring.examination import SPLITS, examine
from rlsearch.measuring.opened import open_run
from tests.commands import call, fail, read_json, succeed
from tests.tiny import STAGE_ENDS, write_config_file

ROW_KEYS = {  # as DESIGN.md lists them
    *("policy", "checkpoint_step", "strategy", "settings", "verifier", "oracle", "budget", "seed"),
    *("accuracy", "ci95", "problems", "generations", "prompt_tokens", "policy_tokens"),
    *("verifier_tokens", "context_tokens", "flops", "seconds"),
}
ASKED = ("--evaluation", "accuracy", "--accuracy.seeds", "0", "3")
BENCH_KEYS = {
    "search": {
        "expansions_per_second",
        "search_tokens_per_second",
        "decode_tokens_per_second",
        "search_efficiency",
        "bytes_per_node",
    },
    "decode": {"tokens_per_second"},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config_file(tmp_path_factory.mktemp("config") / "tiny.py")


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """The run, and what training it printed."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    return run, read_json("train", config, "--run-dir", run, *ASKED)


@pytest.fixture(scope="module")
def run(trained):
    return trained[0]


def test_train_writes_the_run_directory(trained, config):
    run, result = trained
    assert result["run"] == str(run) and result["stages"] == STAGE_ENDS
    assert result["steps"] == max(STAGE_ENDS.values()) and result["parameters"] > 0
    assert set(result["flops"]) == set(STAGE_ENDS)
    names = {"config.json", "environment.json", "metrics.jsonl", "tensorboard", "checkpoints"}
    assert {path.name for path in run.iterdir()} >= names
    saved = json.loads((run / "config.json").read_text())
    assert saved["name"] == "tiny" and saved["evaluation"][0]["seeds"] == [0, 3]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == result["steps"]
    # The same command again has nothing left to do; free fields may differ.
    assert succeed("train", config, "--run-dir", run) == f"trained: {run}\n"


def test_a_run_is_not_trained_with_another_config(run, config):
    sentence = fail("train", config, "--run-dir", run, "--distilled.num_steps", 5)
    assert "distilled.num_steps (3 there, 5 now)" in sentence


def test_evaluate_writes_the_table_and_the_picture(run):
    asked = ["--problems", 4, "--budgets", 1, 2, "--seeds", 0]
    result = read_json("evaluate", run, *asked)
    table = json.loads((run / "evaluations" / "held_out.json").read_text())
    assert (run / "evaluations" / "held_out.png").read_bytes().startswith(b"\x89PNG")
    assert result["table"] == str(run / "evaluations" / "held_out.json")
    assert result["picture"] == str(run / "evaluations" / "held_out.png")
    assert table["benchmark"] == "held_out" and table["rows"] == result["rows"]
    assert all(set(row) == ROW_KEYS for row in table["rows"])
    assert len(table["rows"]) == 3 * (1 + 2 + 2)  # greedy decoding has one budget
    for row in table["rows"]:
        assert row["checkpoint_step"] == STAGE_ENDS[row["policy"]]
        assert (row["problems"], row["seed"]) == (4, 0)
        assert 0 <= row["accuracy"] <= 1 and row["flops"] > 0
        assert row["policy_tokens"] <= 21 * row["budget"] and not row["oracle"]
    assert len(result["summary"]) == len(table["rows"])


def test_the_suite_of_test_time_compute_writes_its_table_and_picture(run):
    asked = ["--suite", "test-time-compute", "--problems", 6, "--budgets", 1, 4, "--seeds", 0]
    asked += ["--policies", "base", "--strategies", "best_of_n", "beam_search"]
    result = read_json("evaluate", run, *asked)
    assert json.loads((run / "evaluations" / "test_time_compute.json").read_text()) == {
        key: value for key, value in result.items() if not key.endswith(("table", "picture"))
    }
    for end in (".png", "_total.png"):
        picture = run / "evaluations" / f"test_time_compute{end}"
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert all(set(row) == ROW_KEYS for row in result["rows"]) and len(result["rows"]) == 4
    kinds = [(row["difficulty"], row["budget"]) for row in result["optimal"]]
    assert kinds == [("oracle", 1), ("oracle", 4), ("predicted", 1), ("predicted", 4)]
    assert result["optimal"][0]["difficulty_tokens"] == 64 * 21
    judged = result["verifier"]["policies"]["base"]
    assert judged["solutions"]["count"] == 6 * 64 and judged["steps"]["count"] == 6 * 64 * 3
    assert 0 <= judged["steps"]["calibration_error"] <= 1
    assert result["budget_for_baseline"][0]["best_of_n"] == 4
    equal = [(row["strategy"], row["budget"], row["tokens"]) for row in result["equal_tokens"]]
    assert equal == [("beam_search", 1, 21), ("beam_search", 4, 84)]
    best_of_n = [row["accuracy"] for row in result["rows"] if row["strategy"] == "best_of_n"]
    assert [row["best_of_n"] for row in result["equal_tokens"]] == best_of_n
    assert [row["ratio"] for row in result["total_compute"]] == [
        *[0.16] * 4,
        *[0.79] * 4,
        *[22] * 4,
    ]
    said = fail("evaluate", run, *asked, "--oracle")
    assert "--oracle is not for the study of test-time-compute" in said
    greedy = ["--suite", "test-time-compute", "--strategies", "greedy", "--budgets", 4]
    assert "none can spend a budget of 4" in fail("evaluate", run, *greedy)
    assert "there is no SUITE 'speed'" in fail("evaluate", run, "--suite", "speed")


def test_settings_are_chosen_on_training_problems_and_nothing_held_out_is_touched(run):
    held_out = run / "evaluations" / "held_out.json"
    before = held_out.read_bytes() if held_out.exists() else None
    asked = ["--split", "training", "--problems", 5, "--budgets", 1, "--seeds", 0]
    result = read_json("evaluate", run, *asked, "--strategies", "greedy", "--policies", "base")
    assert result["benchmark"] == "training" and result["rows"][0]["problems"] == 5
    assert result["table"] == str(run / "evaluations" / "training" / "training.json")
    assert Path(result["picture"]).is_file()
    assert (held_out.read_bytes() if held_out.exists() else None) == before
    opened = open_run(str(run))
    drawn, held = (examine(opened, ["base"], 50, split)[0] for split in SPLITS[::-1])
    assert len(drawn.prompts) == 50
    numbers = {tuple(prompt) for prompt in np.asarray(drawn.prompts).tolist()}
    assert not numbers & {tuple(prompt) for prompt in np.asarray(held.prompts).tolist()}
    assert "there is no SPLIT 'test'" in fail("evaluate", run, "--split", "test")


def test_evaluate_prints_a_line_a_result(run):
    asked = ["--problems", 4, "--budgets", 1, "--seeds", 0, "--strategies", "greedy", "--oracle"]
    lines = succeed("evaluate", run, *asked, "--policies", "base", "distilled").splitlines()
    assert [" ".join(line.split()[:-3]) for line in lines[:-2]] == [
        "base greedy",
        "distilled greedy",
        "base tree_search (oracle)",
        "distilled tree_search (oracle)",
    ]
    assert lines[0].split()[-3:-1] == ["budget", "1"]
    assert lines[-2].startswith("table: ") and lines[-1].startswith("picture: ")
    table = json.loads((run / "evaluations" / "held_out.json").read_text())
    assert [row["oracle"] for row in table["rows"]] == [False, False, True, True]


def test_solve_gives_steps_and_cost(run):
    asked = ["solve", run, "8 4, 7 8", "--budget", 2]
    result = read_json(*asked)
    assert result["problem"] == "24 from 4 7 8 8"
    assert (result["policy"], result["strategy"], result["budget"]) == (
        "distilled",
        "tree_search",
        2,
    )
    assert len(result["solution"]) == 3 and all("->" in line for line in result["solution"])
    assert result["right"] in (True, False) and 0 <= result["score"] <= 1
    assert 21 <= result["policy_tokens"] <= 42 and result["generations"] >= 1
    lines = succeed(*asked).splitlines()
    assert lines[:3] == result["solution"]
    cost = f"{result['policy_tokens']} tokens in {result['generations']} generations"
    assert lines[3:] == [f"{'right' if result['right'] else 'wrong'}, for {cost}"]


def test_solve_takes_the_policy_that_is_asked_for(run):
    result = read_json("solve", run, "4 7 8 8", "--budget", 2, "--policy", "base")
    assert result["policy"] == "base"


@pytest.mark.parametrize("kind", ["search", "decode"])
def test_bench_measures_throughput(config, kind):
    result = read_json("bench", kind, config)
    assert set(result) >= BENCH_KEYS[kind]
    for key in BENCH_KEYS[kind]:
        assert result[key] > 0
    assert (result["config"], result["devices"], result["batch_size"]) == ("tiny", 1, 4)
    if kind == "search":
        rates = [result[f"{name}_positions_per_second"] for name in ("search", "decode")]
        assert result["search_efficiency"] == pytest.approx(rates[0] / rates[1])
    lines = succeed("bench", kind, config).splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(result)


def test_bench_beams_holds_all_problems_at_once_against_each_alone(config):
    result = read_json("bench", "beams", config, "--task.num_held_out", 3)
    assert (result["problems"], result["problems_at_once"], result["drafts"]) == (3, 3, 64)
    assert result["same_answers"] == 1.0 and result["batched_speedup"] > 0


@pytest.mark.slow
def test_bench_train_measures_tokens_utilisation_and_shares(config):
    result = read_json("bench", "train", config)
    assert (result["config"], result["stage"], result["devices"]) == ("tiny", "distilled", 1)
    searched = 4 * 3 * 3  # problems, decisions and simulations
    assert result["simulations_per_second"] == pytest.approx(searched / result["seconds_per_step"])
    tokens = result["tokens_per_second"] * result["seconds_per_step"]
    assert 4 * 21 <= tokens <= 4 * 3 * (3 + 1) * 8
    assert 0 < result["mfu"] < 1
    shares = [result[f"{name}_share"] for name in ("search", "update", "host")]
    assert sum(shares) == pytest.approx(1.0) and all(-1 < share < 1 for share in shares)


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("1 1 1 1", "no sequence of + - * / makes 24"),
        ("4 7 8", "it has 3 numbers"),
        ("4 7 8 8 1", "it has 5 numbers"),
        ("4 7 8 99", "'99' is not in range"),
        ("4 7 8 -8", "'-8' is not in range"),
        ("four 7 8 8", "'four' is not in range"),
        ("", "it has 0 numbers"),
        ("24 from 4 7 8 8\n", "'24' is not in range"),
    ],
)
def test_a_bad_problem_is_named(run, problem, said):
    sentence = fail("solve", run, problem)
    assert "problem is " in sentence and said in sentence


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("train CONFIG --distil.num_steps 3", "the nearest is distilled;"),
        ("train CONFIG --distilled.num_step 3", "the nearest is num_steps;"),
        ("train CONFIG --distilled.search.num_simulations many", "num_simulations is 'many'"),
        (
            "train CONFIG --distilled.search.policy best",
            "distilled.search.policy is 'best': it must be 'gumbel', 'puct' or",
        ),
        (
            "train CONFIG --parallel.data 100",
            "1 x 100 x 1 = 100: there are only 8 devices",
        ),
        ("train CONFIG --parallel.data 8", "stage 'distilled' runs 4 problems or games at once"),
        ("train CONFIG --distilled.num_targets 3", "at most search.num_candidates, 2"),
        ("train CONFIG --log.keep_best 1", "log.keep_best is 1: it must be 0 where best_metric"),
        ("train CONFIG --log.best_metric solved", "one of the stages base, distilled, control"),
        ("train CONFIG --task.cls no.such:Task", "task.cls is 'no.such:Task'"),
        ("train nowhere", "there is no config 'nowhere'"),
        ("bench search CONFIG --parallel.data 3", "distilled.teaching.num_problems is 4: it must"),
        ("bench decode nowhere.py", "there is no config 'nowhere.py'"),
        ("evaluate RUN --strategies bestofn", "strategy is 'bestofn': it must be greedy, self"),
        ("evaluate RUN --policies control best", "policy is 'best': this run has base, distilled"),
        ("evaluate NOWHERE", "there is no config.json in it"),
        ("solve NOWHERE 4", "there is no config.json in it"),
        ("solve RUN 4,7,8,8 --policy best", "policy is 'best': this run has base, distilled, con"),
    ],
)
def test_bad_usage_is_one_sentence(run, config, tmp_path, argv, said):
    places = {"CONFIG": config, "RUN": run, "NOWHERE": tmp_path / "nowhere"}
    arguments = [places.get(argument, argument) for argument in argv.split()]
    if arguments[0] == "train":
        arguments += ["--run-dir", tmp_path / "new"]
    assert said in fail(*arguments)
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "new" / "config.json").exists()


def copy_of(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    return copy


def test_a_run_without_a_complete_checkpoint_is_said_to_be_so(run, tmp_path):
    copy = copy_of(run, tmp_path)
    for path in (copy / "checkpoints").glob("*/*"):
        if path.is_dir():  # as a kill in the middle of each save would have left it
            path.rename(path.parent / f"{path.name}.orbax-checkpoint-tmp-1")
    shutil.rmtree(copy / "evaluations", ignore_errors=True)
    for argv in (["solve", copy, "4 7 8 8"], ["evaluate", copy], ["evaluate", copy, "--oracle"]):
        assert "no stage of it is complete yet" in fail(*argv)
    assert not (copy / "evaluations").exists()


def test_a_run_whose_later_stages_are_missing_has_the_others(run, tmp_path):
    copy = copy_of(run, tmp_path)
    for name in ("distilled", "control"):
        shutil.rmtree(copy / "checkpoints" / name / "3")
    said = fail("solve", copy, "4 7 8 8", "--policy", "distilled")
    assert "policy is 'distilled': this run has base" in said
    assert "policy is 'control'" in fail("evaluate", copy, "--policies", "control")


def test_a_damaged_checkpoint_fails_with_one_sentence(run, tmp_path):
    copy = copy_of(run, tmp_path)
    checkpoint = copy / "checkpoints" / "distilled" / "3"
    shutil.rmtree(checkpoint / "state")
    code, out, err = call("solve", copy, "4 7 8 8")
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert "checkpoint 3" in err and "is damaged" in err
    assert checkpoint.exists()  # reading a run changes nothing


MY_CODE = """
import jax
from rlsearch.strategies.greedy import Greedy
from rlsearch.tasks.game24 import Game24
from rlsearch.verifiers.value_head import ValueHead

class MyTask(Game24):
    pass

class MyStrategy(Greedy):
    pass

class Plain(ValueHead):
    pass

@jax.tree_util.register_static
class MyVerifier(ValueHead):
    label = "mine"
"""


def test_code_of_the_users_own_is_named_and_given(run, tmp_path):
    file = tmp_path / "my_own.py"
    file.write_text(MY_CODE)
    copy = copy_of(run, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    config["task"]["cls"] = "my_own:MyTask"
    (copy / "config.json").write_text(json.dumps(config))
    assert "what --code FILE defines" in fail("solve", copy, "4 7 8 8")
    argv = ["evaluate", copy, "--strategies", "my_own:MyStrategy", "--budgets", 1]
    argv += ["--verifier", "my_own:MyVerifier", "--problems", 2]
    code, out, err = call(*argv, "--code", file, "--json")
    assert code == 0, err
    assert {row["verifier"] for row in json.loads(out)["rows"]} == {"mine"}
    for verifier, said in (("my_own:Plain", "its class is no pytree"), ("judge", "'judge'")):
        assert said in fail("evaluate", copy, "--verifier", verifier, "--code", file)
    for name, said in (("my.txt", "must be a Python file"), ("json.py", "another module's name")):
        (tmp_path / name).write_text("1 / 0")
        assert said in fail("solve", copy, "4 7 8 8", "--code", tmp_path / name)
    file.write_text("1 / 0")
    assert "my_own.py does not run: ZeroDivisionError" in fail(*argv, "--code", file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "tiny", "sea', "config.json is damaged"),
        ('{"format": 2, "name": "tiny", "sead": 3}', "the nearest is seed"),
        ('{"name": "tiny", "sead": 3}', "'sead' is no field of format 1"),
        ('{"format": 4}', "format is 4: it must be a whole number up to 3"),
        ('{"format": 2, "task": {"cls": "os:system"}}', "what is data may name rlsearch.*"),
        ('{"task": {"cls": "os:system"}}', "what is data may name rlsearch.*"),
    ],
)
def test_a_config_that_is_not_ours_is_not_run(run, tmp_path, text, said):
    (tmp_path / "config.json").write_text(text)
    assert said in fail("solve", tmp_path, "4 7 8 8")
    assert said in fail("evaluate", tmp_path)

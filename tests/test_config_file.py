import dataclasses
import json
import re

import pytest

from rlsearch import config_file
from rlsearch.config import Experiment, ParallelConfig, SearchConfig
from rlsearch.config_file import ConfigError

HEAD = "from rlsearch.config import Experiment, SearchConfig\n"


def refused(sentence):
    return pytest.raises(ConfigError, match=re.escape(sentence))


@pytest.fixture
def configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "small.py").write_text(f"{HEAD}config = Experiment(name='small')\n")
    return folder


@pytest.mark.parametrize("name", ["small", "small.py", "configs/small.py"])
def test_load_takes_a_name_or_a_path(configs, name):
    assert config_file.load(name) == Experiment(name="small")


def test_load_names_what_exists_and_the_nearest(configs):
    with refused("there is no config 'smal'") as caught:
        config_file.load("smal")
    assert "the nearest is small" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "defines no `config`: it must define `config`, an Experiment"),
        ("config = 3", "defines a `config` of type int"),
        ("config = 1 / 0", "does not run: ZeroDivisionError: division by zero"),
        ("config = (", "does not run: SyntaxError"),
        ("config = Experiment(search=SearchConfig(policy='x'))", "SearchConfig.policy is 'x'"),
        ("config = Experiment(search=SearchConfig(simulations=1))", "'simulations'"),
        ("config = Experiment(seed='3')", "seed is '3': it must be a whole number"),
        ("config = Experiment(search=3)", "search is 3: it must be a group of fields"),
    ],
)
def test_load_refuses_a_bad_file(configs, text, sentence):
    (configs / "bad.py").write_text(HEAD + text)
    with refused(sentence) as caught:
        config_file.load("bad")
    assert str(caught.value).startswith("configs/bad.py")


def test_load_makes_tuples_of_lists(configs):
    text = "from rlsearch.config import EvaluationConfig\n"
    (configs / "lists.py").write_text(
        f"{HEAD}{text}config = Experiment(evaluation=EvaluationConfig(seeds=[7]))\n"
    )
    assert config_file.load("lists").evaluation.seeds == (7,)


def test_override_sets_fields_of_each_type():
    arguments = "--search.num_simulations 32 --search.policy=puct --model.qkv_bias true --seed=5"
    arguments += " --evaluation.budgets 1 4 --parallel.data -1 --pretrain.optimizer.beta2 0.5"
    arguments += " --search.num-candidates 3"
    config = config_file.override(Experiment(), arguments.split())
    assert config.search == SearchConfig(num_simulations=32, policy="puct", num_candidates=3)
    assert config.model.qkv_bias is True
    assert config.seed == 5
    assert config.evaluation.budgets == (1, 4)
    assert config.parallel.data == -1
    assert config.pretrain.optimizer.beta2 == 0.5
    assert config.distill == Experiment().distill


def test_override_checks_the_fields_of_a_group_together():
    arguments = ["--distill.num_problems", "6", "--distill.replay_size", "18"]
    assert config_file.override(Experiment(), arguments).distill.replay_size == 18


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--search.num_simulation 3", "--search.num_simulation = 3 is no field: the nearest is"),
        ("--search.num_simulation 3", "search.num_simulations; valid are search.policy, "),
        ("--num_simulations 3", "the nearest is search.num_simulations"),
        ("--zzzzzz.qqqqqq 3", "is no field: valid are kind, name, seed, task"),
        ("--search 3", "--search = 3 is a group of fields: set one of them, search.policy"),
        ("--seed 1.5", "seed is '1.5': it must be a whole number"),
        ("--seed", "seed got no value: it must be one value, a whole number"),
        ("--seed 1 2", "seed got 2 values, 1 2: it must be one value"),
        ("--evaluation.budgets", "evaluation.budgets got no value"),
        ("--evaluation.budgets 1 x", "evaluation.budgets is [1, 'x']: it must be a list of whole"),
        ("--model.qk_norm yes", "model.qk_norm is 'yes': it must be true or false"),
        ("--search.temperature nan", "search.temperature is nan: it must be a finite number"),
        ("--search.policy best", "search.policy is 'best': it must be 'gumbel' or 'puct'"),
        (
            "--distill.optimizer.learning_rate 0",
            "distill.optimizer.learning_rate is 0.0: it must be positive",
        ),
        ("5", "'5' stands before any field"),
    ],
)
def test_override_refuses_in_one_sentence(arguments, sentence):
    with refused(sentence) as caught:
        config_file.override(Experiment(), arguments.split())
    assert "\n" not in str(caught.value)


def test_dictionaries_round_trip_through_json():
    arguments = ["--seed", "3", "--evaluation.seeds", "4", "--search.temperature", "0.1"]
    for config in (Experiment(), config_file.override(Experiment(), arguments)):
        text = json.dumps(config_file.to_dict(config), allow_nan=False)
        assert config_file.from_dict(json.loads(text)) == config


def test_from_dict_keeps_defaults_of_what_is_left_out():
    data = {"distill": {"optimizer": {"beta2": 0.5}}}
    default = Experiment().distill.optimizer
    assert config_file.from_dict(data).distill.optimizer == dataclasses.replace(default, beta2=0.5)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "the config is []: it must be a group of fields"),
        ({"search": {"policies": "puct"}}, "search.policies = 'puct' is no field: the nearest is"),
        ({"search": {"num_simulations": True}}, "search.num_simulations is True: it must be a"),
        ({"search": {"num_simulations": 2.0}}, "search.num_simulations is 2.0: it must be a whole"),
        ({"search": {"temperature": 10**400}}, "it must be a finite number"),
        ({"model": {"qk_norm": 1}}, "model.qk_norm is 1: it must be true or false"),
        ({"evaluation": {"budgets": 4}}, "evaluation.budgets is 4: it must be a list of whole"),
        ({"evaluation": {"strategies": "greedy"}}, "evaluation.strategies is 'greedy'"),
        ({"search": {"policy": "os:system"}}, "search.policy is 'os:system'"),
    ],
)
def test_from_dict_is_strict(data, sentence):
    with refused(sentence):
        config_file.from_dict(data)


def test_resuming_returns_the_changes_it_accepts():
    arguments = ["--name", "b", "--log.every_steps", "9", "--evaluation.seeds", "7"]
    arguments += ["--profile.steps", "10", "15"]
    new = config_file.override(Experiment(parallel=ParallelConfig(data=2)), arguments)
    changed = ["name", "evaluation.seeds", "parallel.data", "log.every_steps", "profile.steps"]
    assert config_file.check_resumable(Experiment(), new) == changed
    assert config_file.check_resumable(new, new) == []


@pytest.mark.parametrize("path", ["pretrain.num_steps", "distill.num_steps", "model.num_layers"])
def test_resuming_refuses_other_changes(path):
    new = config_file.override(Experiment(), [f"--{path}", "7", "--seed", "8"])
    with refused("7 now") as caught:
        config_file.check_resumable(Experiment(), new)
    assert path in str(caught.value)
    assert "seed (0 there, 8 now)" in str(caught.value)
    assert "another --run-dir" in str(caught.value)

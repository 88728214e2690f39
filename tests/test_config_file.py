import dataclasses
import re

import pytest

from rlsearch import config_file
from rlsearch.config import ParallelConfig
from rlsearch.config_data import ConfigError
from rlsearch.stages.traces import Traces
from rlsearch.strategies.greedy import Greedy
from rlsearch.studies.accuracy import Accuracy
from rlsearch.tasks.arithmetic import Arithmetic
from tests.boards import tiny_board_experiment
from tests.tiny import tiny_experiment, with_stage, with_stages

HEAD = """from rlsearch.config import Experiment, SearchConfig
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.traces import Traces
from rlsearch.studies.accuracy import Accuracy
"""
SMALL = config_file.Experiment(name="small", stages=(Traces(),))
TINY = tiny_experiment()


def refused(sentence):
    return pytest.raises(ConfigError, match=re.escape(sentence))


@pytest.fixture
def configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "small.py").write_text(
        f"{HEAD}config = Experiment(name='small', stages=(Traces(),))\n"
    )
    return folder


@pytest.mark.parametrize("name", ["small", "small.py", "configs/small.py"])
def test_load_takes_a_name_or_a_path(configs, name):
    assert config_file.load(name) == SMALL


def test_load_names_what_exists_and_the_nearest(configs):
    with refused("there is no config 'smal'") as caught:
        config_file.load("smal")
    assert "the nearest is small" in str(caught.value)


OWN_CLASS = """import dataclasses
@dataclasses.dataclass(frozen=True)
class Mine(Traces):
    pass
config = Experiment(stages=(Mine(),))
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "defines no `config`: it must define `config`, an Experiment"),
        ("config = 3", "defines a `config` of type int"),
        ("config = 1 / 0", "does not run: ZeroDivisionError: division by zero"),
        ("config = (", "does not run: SyntaxError"),
        ("SearchConfig(policy='x')", "SearchConfig.policy is 'x'"),
        ("SearchConfig(simulations=1)", "'simulations'"),
        ("config = Experiment()", "Experiment.stages is (): it must be at least one stage"),
        (
            "config = Experiment(seed='3', stages=(Traces(),))",
            "seed is '3': it must be a whole number",
        ),
        (
            "config = Experiment(stages=(SearchDistillation(search=3),))",
            "does not run: AttributeError",
        ),
        (
            "config = Experiment(stages=(Traces(optimizer=3),))",
            "stages[0].optimizer is 3: it must be a group of fields",
        ),
        (
            "config = Experiment(stages=(Traces(num_steps=1.5),))",
            "stages[0].num_steps is 1.5: it must be a whole number",
        ),
        (
            "config = Experiment(stages=(Traces(),), task=3)",
            "task is 3: it must be a task, with its cls",
        ),
        (
            "config = Experiment(stages=(Traces(),), task=Traces())",
            "task.cls is 'rlsearch.stages.traces:Traces': it must be module:Class of a task",
        ),
        (
            "config = Experiment(stages=(Traces(),), evaluation=3)",
            "evaluation is 3: it must be a list of a study",
        ),
        (
            "config = Experiment(stages=(Traces(),), evaluation=(3,))",
            "evaluation[0] is 3: it must be a study, with its cls",
        ),
        (OWN_CLASS, "stages[0].cls is '<run_path>:Mine': it must be module:Class"),
    ],
)
def test_load_refuses_a_bad_file(configs, text, sentence):
    (configs / "bad.py").write_text(HEAD + text)
    with refused(sentence) as caught:
        config_file.load("bad")
    assert str(caught.value).startswith("configs/bad.py")


def test_load_makes_tuples_of_lists(configs):
    text = "config = Experiment(stages=[Traces()], evaluation=[Accuracy(seeds=[7])])\n"
    (configs / "lists.py").write_text(HEAD + text)
    config = config_file.load("lists")
    assert config.stages == (Traces(),) and config.evaluation[0].seeds == (7,)


def test_a_config_may_import_classes_of_the_users_own(configs, monkeypatch):
    monkeypatch.syspath_prepend(configs)
    for name, base in (
        ("own_stage_of_file", "stages.traces import Traces"),
        ("own_game_of_file", "environments.pgx_game import PgxGame"),
    ):
        parent = base.split()[-1]
        (configs / f"{name}.py").write_text(
            f"import dataclasses\nfrom rlsearch.{base}\n"
            f"@dataclasses.dataclass(frozen=True)\nclass Mine({parent}):\n    pass\n"
        )
    (configs / "own.py").write_text(
        f"{HEAD}from own_stage_of_file import Mine\nimport own_game_of_file\n"
        "from rlsearch.stages.self_play import SelfPlay\n"
        "config = Experiment(stages=(Mine(), SelfPlay(environment=own_game_of_file.Mine())))\n"
    )
    config = config_file.load("own")
    assert config_file.own_modules(config) == ("own_game_of_file", "own_stage_of_file")
    assert config_file.own_modules(TINY) == ()


def test_what_is_typed_sets_fields():
    arguments = "--distilled.search.num_simulations 32 --distilled.search.policy=puct --seed=5"
    arguments += " --profile.steps 1 4 --parallel.data -1 --distilled.search.num-candidates 3"
    arguments += " --model.qkv_bias true --name=a=b"
    config = config_file.override(TINY, arguments.split())
    search = config.stages[1].search
    assert (search.num_simulations, search.policy, search.num_candidates) == (32, "puct", 3)
    assert (config.seed, config.parallel.data, config.profile.steps) == (5, -1, (1, 4))
    assert config.model.qkv_bias is True and config.name == "a=b"
    assert config.stages[0] == TINY.stages[0] and config_file.override(TINY, []) == TINY


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--search.num_simulation 3", "--search.num_simulation = 3 is no field: valid are name"),
        ("--seed 1.5", "seed is '1.5': it must be a whole number"),
        ("5", "'5' stands before any field: write --field.path value"),
    ],
)
def test_what_is_typed_wrongly_is_refused_in_one_sentence(arguments, sentence):
    with refused(sentence) as caught:
        config_file.override(TINY, arguments.split())
    assert "\n" not in str(caught.value)


EVALUATED = dataclasses.replace(TINY, evaluation=(Accuracy((Greedy(),), seeds=(3,)),))


def test_resuming_returns_the_changes_it_accepts():
    arguments = ["--name", "b", "--log.every_steps", "9", "--accuracy.seeds", "7"]
    arguments += ["--profile.steps", "10", "15", "--model.remat", "nothing_saveable"]
    arguments += ["--task.data_dir", "elsewhere", "--parallel.data", "2"]
    new = config_file.override(EVALUATED, arguments)
    changed = {
        *("name", "accuracy.seeds", "parallel.data", "log.every_steps", "profile.steps"),
        *("task.data_dir", "model.remat"),
    }
    for begun in (0, 3):
        assert set(config_file.check_resumable(EVALUATED, new, begun)) == changed
        assert config_file.check_resumable(new, new, begun) == []
    study = config_file.override(EVALUATED, ["--evaluation", "verifiers"])
    found = config_file.check_resumable(EVALUATED, study, 3)
    assert {"accuracy.seeds", "verifiers.seed"} <= set(found)
    board = tiny_board_experiment()
    fewer = config_file.override(board, ["--self_play.play.num_simulations", "7"])
    changed = config_file.check_resumable(board, fewer, 1)
    assert changed == ["self_play.play.num_simulations"]
    rematerialised = config_file.override(board, ["--self_play.model.remat", "nothing_saveable"])
    assert config_file.check_resumable(board, rematerialised, 1) == ["self_play.model.remat"]


@pytest.mark.parametrize("path", ["base.num_steps", "distilled.num_steps", "model.num_layers"])
def test_resuming_refuses_other_changes(path):
    new = config_file.override(TINY, [f"--{path}", "7", "--seed", "8"])
    with refused("7 now") as caught:
        config_file.check_resumable(TINY, new, 3)
    assert path in str(caught.value)
    assert "seed (0 there, 8 now)" in str(caught.value)
    assert "another --run-dir" in str(caught.value)


def test_stages_that_have_not_begun_may_change_and_come_and_go():
    longer = with_stage(TINY, "control", num_samples=5)
    assert config_file.check_resumable(TINY, longer, 2) == ["control.num_samples"]
    with refused("control.num_samples (9 there, 5 now)"):
        config_file.check_resumable(TINY, longer, 3)
    fewer = with_stages(TINY, "base", "distilled")
    for one, other in ((TINY, fewer), (fewer, TINY)):
        changed = config_file.check_resumable(one, other, 2)
        assert changed and all(path.startswith("control.") for path in changed)
    with refused("control.cls ("):
        config_file.check_resumable(TINY, fewer, 3)
    turned = with_stages(TINY, "distilled", "base", "control")
    with refused("the run has another config, in its stages: only"):
        config_file.check_resumable(TINY, turned, 2)
    assert config_file.check_resumable(TINY, turned, 0) == []


def test_resuming_refuses_another_class_whatever_its_fields():
    one = dataclasses.replace(TINY, task=Arithmetic())
    other = config_file.override(
        one, ["--task.cls", "rlsearch.tasks.direct_arithmetic:DirectArithmetic"]
    )
    with refused("in task.cls ('rlsearch.tasks.arithmetic:Arithmetic' there, "):
        config_file.check_resumable(one, other, 1)
    assert config_file.check_resumable(one, dataclasses.replace(one, parallel=ParallelConfig()), 1)

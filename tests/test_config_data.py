"""Experiments as data and on the command line: nothing is lost, and nothing strange gets in."""

import dataclasses
import json
import re
from typing import Any

import pytest

from rlsearch.classes import classes_of
from rlsearch.config import (
    ENVIRONMENT,
    PROMPTING,
    STAGE,
    STRATEGY,
    STUDY,
    TASK,
    Experiment,
    SearchConfig,
)
from rlsearch.config_data import (
    MAX_ITEMS,
    SEVERAL,
    ConfigError,
    _hints,
    _item,
    _kind,
    _required,
    from_data,
    leaves,
    replaced,
    to_data,
)
from rlsearch.config_file import load
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.traces import Traces
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.greedy import Greedy
from rlsearch.studies.accuracy import Accuracy
from rlsearch.studies.exchange import Exchange
from rlsearch.tasks.arithmetic import Arithmetic
from rlsearch.tasks.direct_arithmetic import DirectArithmetic
from rlsearch.tasks.game24 import Game24
from rlsearch.tasks.prompting import FewShot
from tests.boards import tiny_board_experiment
from tests.golden_runs import CONFIGS
from tests.tiny import tiny_experiment, with_stage, with_stages
from tests.verifier_run import verifier_experiment

STRATEGIES = (BestOfN(temperature=0.5), Greedy())
TINY = dataclasses.replace(
    tiny_experiment(), evaluation=(Accuracy(STRATEGIES, seeds=(7,)),), prompting=FewShot(2)
)
CLASS = "rlsearch.stages.search_distillation:SearchDistillation"


def refused(sentence):
    return pytest.raises(ConfigError, match=re.escape(sentence))


def typed(config: Any, line: str) -> Any:
    """A value with fields set as on a command line, one setting in front of each `;`."""
    words = [setting.split() for setting in line.split(";")]
    return replaced(config, [(path, texts) for path, *texts in words])


def every_class() -> list[type]:
    """Every frozen dataclass that a config can hold, at any depth."""
    found: list[type] = [Experiment]
    kinds = TASK, PROMPTING, STAGE, STUDY, STRATEGY, ENVIRONMENT
    found += [cls for kind in kinds for cls in classes_of(kind).values()]
    for cls in found:
        for hint in _hints(cls).values():
            item = _required(_item(hint) or hint)[0]
            held = list(classes_of(_kind(item)).values()) if _kind(item) else [item]  # pyright: ignore
            found += [x for x in held if dataclasses.is_dataclass(x) and x not in found]
    return found


# ---- Data and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CONFIGS, "tiny", "board", "verifiers"])
def test_data_goes_through_json_and_back(name):
    own = {"tiny": TINY, "board": tiny_board_experiment(), "verifiers": verifier_experiment()}
    config = own.get(name) or load(name)
    text = json.dumps(to_data(config), allow_nan=False)
    assert from_data(Experiment, json.loads(text)) == config


def test_every_class_of_a_config_goes_there_and_back():
    for cls in every_class():
        needed = {"stages": (Traces(),)} if cls is Experiment else {}
        needed |= {"against": "x"} if cls is Exchange else {}
        needed |= {"num_steps": 3} if cls.__name__ == "ExpertIteration" else {}
        needed |= {"folder": "x"} if cls.__name__ == "LabelsFrom" else {}
        value = cls(**needed)
        assert from_data(cls, json.loads(json.dumps(to_data(value), allow_nan=False))) == value


def test_what_is_left_out_has_its_default():
    data = {"stages": [{"cls": CLASS, "teaching": {"optimizer": {"beta2": 0.5}}}]}
    (stage,) = from_data(Experiment, data).stages
    default = Teaching().optimizer
    assert stage.teaching.optimizer == dataclasses.replace(default, beta2=0.5)
    assert stage.search == SearchConfig()


def stage_data(**fields):
    return {"stages": [{"cls": CLASS, **fields}]}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "the config is []: it must be a group of fields"),
        ({}, "stages is (): it must be at least one stage"),
        ({"stages": []}, "stages is (): it must be at least one stage"),
        ({"stages": {}}, "stages is {}: it must be a list of a stage"),
        ({"stages": [3]}, "stages[0] is 3: it must be a stage, with its cls"),
        ({"stages": [{}]}, "stages[0] is {}: it must be a stage, with its cls"),
        ({"stages": [{"cls": CLASS}] * 2}, "stages has two named 'distilled': each needs its own"),
        ({"task": 3}, "task is 3: it must be a task, with its cls"),
        (
            stage_data(search={"policies": "puct"}),
            "stages[0].search.policies = 'puct' is no field: the nearest is policy",
        ),
        (
            stage_data(search={"num_simulations": True}),
            "stages[0].search.num_simulations is True: it must be a whole number",
        ),
        (
            stage_data(search={"num_simulations": 2.0}),
            "stages[0].search.num_simulations is 2.0: it must be a whole",
        ),
        (stage_data(search={"temperature": 10**400}), "it must be a finite number"),
        (stage_data(search={"num_simulations": 10**30}), "it must be from -1,048,576 to 1,048,576"),
        (stage_data(search=3), "stages[0].search is 3: it must be a group of fields"),
        (stage_data(search=None), "stages[0].search is None: it must be a group of fields"),
        (
            stage_data(search={"policy": "os:system"}),
            "stages[0].search.policy is 'os:system': it must be 'gumbel', 'puct' or 'draw'",
        ),
        (stage_data(name=["a"]), "stages[0].name is ['a']: it must be text"),
        ({"model": {"qk_norm": 1}}, "model.qk_norm is 1: it must be true or false"),
        ({"profile": {"steps": 4}}, "profile.steps is 4: it must be a list of whole numbers"),
        ({"profile": {"steps": [1, "2"]}}, "profile.steps[1] is '2': it must be a whole number"),
        ({"profile": {"steps": [1] * (MAX_ITEMS + 1)}}, "it must be a list of whole numbers"),
        (
            {"evaluation": [{"cls": "rlsearch.studies.exchange:Exchange"}]},
            "evaluation[0].against is not set: exchange needs it",
        ),
    ],
)
def test_data_is_read_strictly(data, sentence):
    with refused(sentence) as caught:
        from_data(Experiment, data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


# ---- Fields by their paths ---------------------------------------------------------------------


def test_fields_of_each_type_are_set_by_their_paths():
    config = typed(
        TINY,
        "distilled.search.num_simulations 32; distilled.search.policy puct; model.qkv_bias true;"
        "seed 5; accuracy.budgets 1 4; parallel.data -1; base.optimizer.beta2 0.5;"
        "accuracy.best_of_n.temperature 2; accuracy.problems 3; prompting.num_examples 4",
    )
    base, distilled, control = config.stages
    assert distilled.search == SearchConfig(num_simulations=32, policy="puct", num_candidates=2)
    assert config.model.qkv_bias is True and config.seed == 5 and config.parallel.data == -1
    assert base.optimizer.beta2 == 0.5 and base.num_steps == TINY.stages[0].num_steps
    assert control == TINY.stages[2] and distilled.teaching == TINY.stages[1].teaching
    (study,) = config.evaluation
    assert (study.budgets, study.problems, study.seeds) == ((1, 4), 3, (7,))
    assert study.strategies == (BestOfN(temperature=2.0), Greedy()) and config.prompting == FewShot(
        4
    )
    assert config.task is TINY.task  # what is not set stays what it is


def test_of_a_field_that_is_set_twice_the_last_counts():
    assert typed(TINY, "seed 5; distilled.num_steps 7; distilled.num_steps 9; seed 6").seed == 6
    assert typed(TINY, "distilled.num_steps 7; distilled.num_steps 9").stages[1].num_steps == 9


def test_fields_that_must_fit_together_are_set_together():
    for line in (
        "distilled.teaching.num_problems 6; distilled.teaching.replay_size 18",
        "distilled.teaching.replay_size 18; distilled.teaching.num_problems 6",
    ):
        assert typed(TINY, line).stages[1].teaching.replay_size == 18
    with refused("distilled.teaching.replay_size is 24: it must be a multiple of the rows of"):
        typed(TINY, "distilled.teaching.num_problems 5")
    line = "distilled.num_targets 5; distilled.search.num_candidates 5"
    assert typed(TINY, line).stages[1].num_targets == 5
    with refused("distilled.num_targets is 5: it must be at most search.num_candidates, 2"):
        typed(TINY, "distilled.num_targets 5")


def test_stages_are_chosen_by_name_and_new_ones_by_their_class():
    assert typed(TINY, "stages base") == with_stages(TINY, "base")
    assert typed(TINY, "stages distilled base") == with_stages(TINY, "distilled", "base")
    more = typed(TINY, "revision.num_samples 8; stages base revision; revision.replay_size 128")
    assert [stage.name for stage in more.stages] == ["base", "revision"]
    assert more.stages[1].num_samples == 8 and more.stages[0] is TINY.stages[0]
    chosen = typed(TINY, "evaluation verifiers accuracy; accuracy.strategies greedy mcts_rollout")
    assert [type(study).__name__ for study in chosen.evaluation] == ["Verifiers", "Accuracy"]
    named = typed(TINY, "stages base rlsearch.stages.revision:Revision")
    assert named == typed(TINY, "stages base revision")
    names = [type(strategy).__name__ for strategy in chosen.evaluation[1].strategies]
    assert names == ["Greedy", "MctsRollout"] and chosen.evaluation[1].seeds == (7,)


def test_a_class_is_set_with_the_fields_that_both_have():
    line = "task.cls rlsearch.tasks.arithmetic:Arithmetic; task.largest 20"
    config = typed(dataclasses.replace(TINY, task=Game24(num_held_out=7, split="tot")), line)
    assert config.task == Arithmetic(num_held_out=7, largest=20)
    other = typed(config, "task.cls rlsearch.tasks.direct_arithmetic:DirectArithmetic")
    assert other.task == DirectArithmetic(num_held_out=7, largest=20)
    bare = dataclasses.replace(TINY, prompting=None)
    shown = "prompting.num_examples 2; prompting.cls rlsearch.tasks.prompting:FewShot"
    assert typed(bare, shown).prompting == FewShot(2)  # whatever their order


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "distilled.search.num_simulation 3",
            "--distilled.search.num_simulation = 3 is no field: the nearest is num_simulations; "
            "valid are policy, actions, ",
        ),
        ("num_simulations 3", "--num_simulations = 3 is no field: "),
        ("zzzzzz.qqqqqq 3", "--zzzzzz.qqqqqq = 3 is no field: valid are name, seed, task"),
        ("distil.num_steps 3", "the nearest is distilled; valid are name, seed"),
        ("base.search.policy puct", "--base.search.policy = puct is no field: "),
        ("stages base; distilled.num_steps 3", "--distilled.num_steps = 3 is no field: "),
        ("distilled 3", "--distilled = 3 is a group of fields: set one, distilled.name, dis"),
        ("distilled.search 3", "--distilled.search = 3 is a group of fields: set one, distilled.s"),
        ("task Game24", "--task = Game24 is a group of fields: set one, task.split, "),
        (
            "model.num_layers.x 3",
            "--model.num_layers.x is no field: model.num_layers has no fields",
        ),
        ("seed 1.5", "seed is '1.5': it must be a whole number"),
        ("seed", "seed got no value: it must be one value, a whole number"),
        ("seed 1 2", "seed got 2 values, 1 2: it must be one value"),
        ("seed 9223372036854775808", "seed is 9223372036854775808: it must be from 0 to 9,22"),
        ("accuracy.budgets", "accuracy.budgets got no value: it must be a list of whole numbers"),
        ("accuracy.budgets 1 x", "accuracy.budgets is [1, 'x']: it must be a list of whole"),
        ("accuracy.budgets 0", "accuracy.budgets is (0,): it must be whole numbers of at least 1"),
        ("model.qk_norm yes", "model.qk_norm is 'yes': it must be true or false"),
        ("distilled.search.temperature nan", "temperature is nan: it must be a finite number"),
        (
            "distilled.search.policy best",
            "distilled.search.policy is 'best': it must be 'gumbel', 'puct' or 'draw'",
        ),
        (
            "distilled.teaching.optimizer.learning_rate 0",
            "distilled.teaching.optimizer.learning_rate is 0.0: it must be positive",
        ),
        ("stages base best", "stages has 'best': the nearest is base; a stage is one of base, con"),
        ("stages", "stages is (): it must be at least one stage"),
        ("stages base base", "stages has two named 'base': each needs its own"),
        ("accuracy.strategies greedi", "the nearest is greedy; a strategy is one of beam_search"),
        ("evaluation exchange", "evaluation.against is not set: exchange needs it"),
        ("task.cls", "task.cls got 0 values: it must be one, module:Class"),
        ("task.cls a:B c:D", "task.cls got 2 values: it must be one, module:Class"),
        ("task.cls os:system", "task.cls is 'os:system': it must be module:Class, and there is no"),
        ("model.cls os:system", "--model.cls = os:system is no field"),
        ("distilled.cls os:system", "--distilled.cls = os:system is no field"),
        ("", "-- = "),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_sentence(line, sentence):
    with refused(sentence) as caught:
        replaced(TINY, [("", [])]) if not line else typed(TINY, line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["x" * 100_000, "a." * 50_000, "\x1b[31m", "..", "distilled."])
def test_a_hostile_path_gets_a_short_sentence(path):
    with pytest.raises(ConfigError) as caught:
        replaced(TINY, [(path, ["y" * 100_000])])
    assert len(str(caught.value)) < 1500 and "\n" not in str(caught.value)


def test_every_field_that_takes_several_values_is_known_to_the_command_line():
    """It must know them before it has read the config: `--budgets 1 4 CONFIG`."""
    fields = [field for cls in every_class() for field in _hints(cls).items()]
    assert {name for name, hint in fields if _item(hint)} == set(SEVERAL)
    # One of each name takes one value: more are refused when the config is known.
    assert {name for name, hint in fields if not _item(hint)} & set(SEVERAL) == {"sequential"}


def test_leaves_are_all_plain_fields_and_set_again_give_the_same():
    found = leaves(TINY)
    assert found["distilled.search.policy"] == "gumbel" and found["distilled.cls"] == CLASS
    assert found["accuracy.best_of_n.temperature"] == 0.5 and found["accuracy.seeds"] == (7,)
    assert found["task.cls"] == "rlsearch.tasks.game24:Game24"
    assert found["prompting.cls"] == "rlsearch.tasks.prompting:FewShot"
    assert not any(dataclasses.is_dataclass(value) for value in found.values())
    settings = [
        (path, [str(x) for x in (value if isinstance(value, tuple) else (value,))])
        for path, value in found.items()
        if value not in ((), None) and not path.endswith((".cls", ".name"))
    ]
    assert len(settings) > 80 and replaced(TINY, settings) == TINY


def test_another_class_with_the_same_fields_is_another_leaf():
    one, other = (dataclasses.replace(TINY, task=x()) for x in (Arithmetic, DirectArithmetic))
    differ = {path for path, value in leaves(one).items() if leaves(other)[path] != value}
    assert differ == {"task.cls"}
    board = leaves(tiny_board_experiment())
    assert board["self_play.environment.cls"] == "rlsearch.environments.pgx_game:PgxGame"
    assert with_stage(TINY, "base", num_steps=9) != TINY

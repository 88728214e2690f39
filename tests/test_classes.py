"""A class that data names is one that the package, or a file given, defines, of the kind asked."""

import dataclasses
import importlib
import inspect
import json
import pkgutil
import sys

import pytest
from rlsearch.training.setup import load_environment, load_task

import rlsearch
from rlsearch import classes
from rlsearch.classes import Kind, find_class
from rlsearch.config import EnvironmentConfig, TaskConfig
from rlsearch.config_file import to_dict
from rlsearch.environments.base import Environment
from rlsearch.runs.opening import named_classes
from rlsearch.strategies.base import NAMES, Strategy, load_strategy
from rlsearch.tasks.base import Task
from rlsearch.verifiers.base import Verifier, load_verifier
from tests.boards import tiny_board_experiment
from tests.commands import fail
from tests.tiny import tiny_experiment
from tests.toy import ToyTask

FINDERS = {
    "task.cls": lambda name: load_task(TaskConfig(cls=name)),
    "environment.cls": lambda name: load_environment(EnvironmentConfig(cls=name)),
    "strategy": load_strategy,
    "verifier": lambda name: load_verifier(name, ToyTask()),  # pyright: ignore
}
RIGHT = {
    "task.cls": "Arithmetic Countdown DirectArithmetic Game24",
    "environment.cls": "PgxGame",
    "strategy": "BeamSearch BestOfN BfsV DfsV DiverseSearch Greedy LookaheadSearch MctsAlpha "
    "MctsRollout Revisions SelfConsistency TreeSearch WeightedBestOfN",
    "verifier": "Checker Constant ValueHead",
}
KINDS = {
    "task.cls": Kind(Task, optional=("step_labels", "label_steps")),
    "environment.cls": Kind(Environment),
    "strategy": Kind(Strategy, arguments=0),
    "verifier": Kind(Verifier, maker="of"),
}


def every_class() -> list[str]:
    """`module:Class` of all that any module of the package has, its own and imported."""
    names = []
    for module in pkgutil.walk_packages(rlsearch.__path__, "rlsearch."):
        found = importlib.import_module(module.name)  # also `__main__`, which must do nothing then
        names += [f"{module.name}:{n}" for n, x in vars(found).items() if inspect.isclass(x)]
    return names


@pytest.mark.parametrize("field", FINDERS)
def test_of_all_classes_of_the_package_those_of_the_kind_are_found(field):
    found = []
    for name in every_class():
        try:
            found.append(find_class(field, name, KINDS[field]).__name__)
        except ValueError as error:
            assert str(error).startswith(f"{field} is {name!r}: it must be ")
    assert sorted(found) == sorted(RIGHT[field].split())


HOSTILE = [
    "rlsearch.training.metrics:SummaryWriter",
    "rlsearch.config:TaskConfig",
    "rlsearch.cli.parser:Parser",
    "rlsearch.__main__:X",
    "rlsearch.tasks.prompting:FewShot",
    "rlsearch.tasks.game24:TaskConfig",
    "rlsearch.tasks.base:Task",
    "rlsearch.tasks.number_task:NumberTask",
    "rlsearch.tasks:game24",
    "rlsearch.tasks.nothing:X",
    ".x:y",
    "../../etc",
    "../../etc:passwd",
    "." * 1000,
    "." * 1000 + ":X",
    "a" * 100_000,
    "a." * 50_000 + "b:C",
    "a:b:c",
    "x\0y:Z",
    "\x1b[31m:X",
    "\ud800:X",
    "os:system",
    "os:PathLike",
    "this:X",
    ":",
    "",
]


@pytest.mark.parametrize("field", FINDERS)
@pytest.mark.parametrize("name", HOSTILE, ids=[ascii(name[:30]) for name in HOSTILE])
def test_a_hostile_name_gets_one_sentence(field, name):
    with pytest.raises(ValueError, match=f"^{field} is '") as caught:
        FINDERS[field](name)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 1000 and said.isprintable()


def test_the_nearest_right_name_is_told():
    for field, name, near in (
        ("task.cls", "rlsearch.tasks.game24:Game42", "rlsearch.tasks.game24:Game24"),
        ("task.cls", "rlsearch.tasks.coutdown:Countdown", "rlsearch.tasks.countdown:Countdown"),
        ("environment.cls", "rlsearch.environments.pgx:PgxGame", "pgx_game:PgxGame"),
        ("strategy", "best_of_m", "best_of_n"),
        ("verifier", "rlsearch.verifiers.value_head:Head", "rlsearch.verifiers.value_head:Value"),
    ):
        with pytest.raises(ValueError, match=f"; the nearest is .*{near}"):
            FINDERS[field](name)
    assert all(load_strategy(name) for name in NAMES)


OWN = """
from rlsearch.tasks.game24 import Game24
from rlsearch.strategies.greedy import Greedy
class Mine(Game24): pass
class Two(Game24):
    def __init__(self, config, other): pass
def function(): pass
number = 3
"""


def test_a_file_of_the_users_own_defines_what_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (
        ("own_classes", OWN),
        ("own_error", "1 / 0"),
        ("own_exit", "raise SystemExit(0)"),
        ("own_import", "import there_is_no_such_module"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    assert type(load_task(TaskConfig(cls="own_classes:Mine", num_held_out=3))).__name__ == "Mine"
    for name, said in (
        ("own_classes:Game24", "and that is 'rlsearch.tasks.game24:Game24'"),
        ("own_classes:Two", "cannot be made with 1 arguments"),
        ("own_classes:function", "there is no such class"),
        ("own_classes:number", "there is no such class"),
        ("own_classes:Min", "the nearest is own_classes:Mine"),
        ("own_classes:Greedy", "and that is 'rlsearch.strategies.greedy:Greedy'"),
        ("own_error:X", "own_error does not run: ZeroDivisionError: division by zero"),
        ("own_exit:X", "own_exit does not run: SystemExit: 0"),
        ("own_import:X", "own_import does not run: No module named 'there_is_no_such_module'"),
    ):
        with pytest.raises(ValueError, match=f"task.cls is '{name}'.*{said}"):
            load_task(TaskConfig(cls=name))
    for module in ("own_classes", "own_error", "own_exit", "own_import"):
        sys.modules.pop(module, None)


COMMANDS = {
    "task.cls": ("evaluate RUN", "solve RUN 1_2_3_4", "export RUN OUT"),
    "environment.cls": (
        "evaluate RUN",
        "inspect RUN 1",
        "export RUN OUT",
        "play RUN",
        "arena RUN RUN",
    ),
    "evaluation.strategies": ("evaluate RUN", "solve RUN 1_2_3_4", "export RUN OUT"),
}


@pytest.mark.parametrize("field", COMMANDS)
def test_no_command_builds_a_class_that_a_run_names_wrongly(field, tmp_path, monkeypatch):
    """A module from elsewhere is not imported, and one of the package's of another kind not."""
    config = tiny_board_experiment() if field == "environment.cls" else tiny_experiment()
    saved = to_dict(config)
    imported = []
    usual = importlib.import_module

    def watched(name, *rest):
        imported.append(name)
        return usual(name, *rest)

    monkeypatch.setattr(classes.importlib, "import_module", watched)
    group, name = field.split(".")
    for cls in ("antigravity:X", "rlsearch.training.metrics:SummaryWriter", "." * 1000 + ":x"):
        saved[group][name] = [cls] if name == "strategies" else cls
        (tmp_path / "config.json").write_text(json.dumps(saved))
        if name == "strategies" and cls.startswith("rlsearch"):
            continue  # a run of these is opened, and the strategy is refused where it is built
        for line in COMMANDS[field]:
            words = {"RUN": tmp_path, "OUT": tmp_path / "out"}
            said = fail(*(words.get(word, word) for word in line.split()))
            assert f"{field} is '{cls[:20]}" in said
    assert not {"antigravity", "rlsearch.training.metrics"} & set(imported)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_every_field_that_names_a_class_is_checked_when_a_run_is_opened():
    def fields(config, prefix=""):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                yield from fields(value, f"{prefix}{field.name}.")
            elif field.name in ("cls", "strategies"):
                yield prefix + field.name

    for config in (tiny_experiment(), tiny_board_experiment()):
        if config.kind == "language":
            evaluation = dataclasses.replace(config.evaluation, strategies=("a:B",))
            config = dataclasses.replace(config, evaluation=evaluation)
        assert {name for name, _ in named_classes(config)} == set(fields(config))

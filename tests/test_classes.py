"""A class that data names is one that the package, or a file given, defines, of the kind asked."""

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
import sys

import pytest

import rlsearch
from rlsearch import classes, config
from rlsearch.classes import classes_of, find_class, short_name
from rlsearch.config import ENVIRONMENT, PROMPTING, STAGE, STRATEGY, STUDY, TASK, VERIFIER
from rlsearch.config_data import ConfigError, from_data, to_data
from rlsearch.config_file import override
from rlsearch.runs.opening import experiment_of
from rlsearch.stages.self_play import SelfPlay
from rlsearch.stages.verifier import LABELS, Verifier
from rlsearch.strategies.base import NAMES, load_strategy
from rlsearch.strategies.greedy import Greedy
from rlsearch.studies.accuracy import Accuracy
from rlsearch.tasks.game24 import Game24
from rlsearch.tasks.prompting import FewShot
from rlsearch.verifiers.base import load_verifier
from tests.boards import tiny_board_experiment
from tests.commands import fail
from tests.tiny import tiny_experiment, with_stages
from tests.toy import ToyTask
from tests.verifier_run import verifier_experiment

(SOURCES,) = LABELS.__metadata__
KINDS = {
    "task.cls": TASK,
    "prompting.cls": PROMPTING,
    "stages[0].cls": STAGE,
    "stages[0].environment.cls": ENVIRONMENT,
    "stages[0].labels.cls": SOURCES,
    "evaluation[0].cls": STUDY,
    "evaluation[0].strategies[0].cls": STRATEGY,
    "strategy": STRATEGY,
    "verifier": VERIFIER,
}
RIGHT = {
    TASK: "Arithmetic Countdown DirectArithmetic GSM8K Game24 Generated Questions",
    PROMPTING: "Chat FewShot",
    STAGE: "ExpertIteration Labelling PolicyGradient Revision SearchDistillation SelfPlay "
    "Supervised Traces TreeDistillation Verifier",
    ENVIRONMENT: "PgxGame",
    SOURCES: "ExactSteps LabelsFrom Outcomes",
    STUDY: "Accuracy Everything Exchange Revisions Teachers TestTimeCompute Verifiers",
    STRATEGY: "BeamSearch BestOfN BfsV DfsV DiverseSearch DrawingTree Greedy LookaheadSearch "
    "MctsAlpha MctsRollout OneTree Revisions SelfConsistency TreeSearch TreeVote WeightedBestOfN",
    VERIFIER: "Checker Constant ValueHead",
}


def within(value, name):
    """The data of a value whose one field of a kind names a class."""
    return {**to_data(value), "cls": f"{type(value).__module__}:{type(value).__name__}"} | name


def read(data):
    """An experiment of a run that is opened."""
    return from_data(config.Experiment, {"stages": [within(Verifier(), {})], **data})


FINDERS = {
    "task.cls": lambda name: read({"task": {"cls": name}}),
    "prompting.cls": lambda name: read({"prompting": {"cls": name}}),
    "stages[0].cls": lambda name: read({"stages": [{"cls": name}]}),
    "stages[0].environment.cls": lambda name: read(
        {"stages": [within(SelfPlay(), {"environment": {"cls": name}})]}
    ),
    "stages[0].labels.cls": lambda name: read(
        {"stages": [within(Verifier(), {"labels": {"cls": name}})]}
    ),
    "evaluation[0].cls": lambda name: read({"evaluation": [{"cls": name}]}),
    "evaluation[0].strategies[0].cls": lambda name: read(
        {"evaluation": [within(Accuracy(), {"strategies": [{"cls": name}]})]}
    ),
    "strategy": load_strategy,
    "verifier": lambda name: load_verifier(name, ToyTask()),  # pyright: ignore
}


def every_class() -> list[str]:
    """`module:Class` of all that any module of the package has, its own and imported."""
    names = []
    for module in pkgutil.walk_packages(rlsearch.__path__, "rlsearch."):
        found = importlib.import_module(module.name)  # also `__main__`, which must do nothing then
        names += [f"{module.name}:{n}" for n, x in vars(found).items() if inspect.isclass(x)]
    return names


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.noun)
def test_of_all_classes_of_the_package_those_of_the_kind_are_found(kind):
    found = []
    for name in every_class():
        try:
            found.append(find_class("field", name, kind))
        except ValueError as error:
            assert str(error).startswith(f"field is {name!r}: it must be ")
    assert sorted(cls.__name__ for cls in found) == sorted(RIGHT[kind].split())
    assert classes_of(kind) == {short_name(cls): cls for cls in found}


HOSTILE = [
    "rlsearch.training.metrics:SummaryWriter",
    "rlsearch.config:SearchConfig",
    "rlsearch.cli.parser:Parser",
    "rlsearch.__main__:X",
    "rlsearch.tasks.prompting:Prompted",
    "rlsearch.tasks.game24:NumberTask",
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
    with pytest.raises(ValueError, match=f"^{re.escape(field)} is '") as caught:
        FINDERS[field](name)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 1000 and said.isprintable()


@pytest.mark.parametrize("name", [None, 3, [], {}, ["a:B"], True])
def test_a_class_whose_name_is_no_text_is_refused(name):
    for field in ("task.cls", "stages[0].environment.cls", "evaluation[0].strategies[0].cls"):
        with pytest.raises(ConfigError, match=f"^{re.escape(field)} is {re.escape(repr(name))}: "):
            FINDERS[field](name)


def test_the_nearest_right_name_is_told():
    for field, name, near in (
        ("task.cls", "rlsearch.tasks.game24:Game42", "rlsearch.tasks.game24:Game24"),
        ("task.cls", "rlsearch.tasks.coutdown:Countdown", "rlsearch.tasks.countdown:Countdown"),
        ("stages[0].environment.cls", "rlsearch.environments.pgx:PgxGame", "pgx_game:PgxGame"),
        ("stages[0].cls", "rlsearch.stages.trace:Traces", "rlsearch.stages.traces:Traces"),
        ("strategy", "best_of_m", "best_of_n"),
        ("verifier", "rlsearch.verifiers.value_head:Head", "rlsearch.verifiers.value_head:Value"),
    ):
        with pytest.raises(ValueError, match=f"; the nearest is .*{near}"):
            FINDERS[field](name)
    assert all(load_strategy(name) for name in NAMES)


OWN = """
import dataclasses
from rlsearch.tasks.game24 import Game24
from rlsearch.strategies.greedy import Greedy
class Mine(Game24): pass
class Two(Game24):
    def __init__(self, config, other): pass
@dataclasses.dataclass(frozen=True)
class Needy(Game24):
    _: dataclasses.KW_ONLY
    goal: int
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
    tiny = override(tiny_experiment(), ["--task.num_held_out", "3"])
    typed = override(tiny, ["--task.cls", "own_classes:Mine"])
    assert type(typed.task).__name__ == "Mine" and typed.task.num_held_out == 3
    for name, said in (
        ("own_classes:Game24", "and that is 'rlsearch.tasks.game24:Game24'"),
        ("own_classes:function", "there is no such class"),
        ("own_classes:number", "there is no such class"),
        ("own_classes:Min", "the nearest is own_classes:Mine"),
        ("own_classes:Greedy", "and that is 'rlsearch.strategies.greedy:Greedy'"),
        ("own_error:X", "own_error does not run: ZeroDivisionError: division by zero"),
        ("own_exit:X", "own_exit does not run: SystemExit: 0"),
        ("own_import:X", "own_import does not run: No module named 'there_is_no_such_module'"),
    ):
        with pytest.raises(ConfigError, match=f"task.cls is '{name}'.*{said}"):
            override(tiny, ["--task.cls", name])
    with pytest.raises(ConfigError, match="task.cls: own_classes:Two cannot be made with split, n"):
        override(tiny, ["--task.cls", "own_classes:Two"])
    with pytest.raises(ConfigError, match="task.goal is not set: needy needs it"):
        override(tiny, ["--task.cls", "own_classes:Needy"])
    # What is data may not name them, unless their file is given.
    data = {"format": 2, **to_data(typed)}
    with pytest.raises(ConfigError, match="what is data may name rlsearch.*, and what --code FILE"):
        experiment_of(data)
    assert experiment_of(data, ("own_classes",)) == typed
    for module in ("own_classes", "own_error", "own_exit", "own_import"):
        sys.modules.pop(module, None)


COMMANDS = {
    "task.cls": ("evaluate RUN", "solve RUN 1_2_3_4", "export RUN OUT", "data label RUN"),
    "stages[0].cls": ("evaluate RUN", "solve RUN 1_2_3_4", "export RUN OUT", "inspect RUN 1"),
    "stages[0].environment.cls": (
        "evaluate RUN",
        "inspect RUN 1",
        "export RUN OUT",
        "play RUN",
        "arena RUN RUN",
    ),
    "evaluation[0].strategies[0].cls": ("evaluate RUN", "solve RUN 1_2_3_4", "export RUN OUT"),
}


@pytest.mark.parametrize("field", COMMANDS)
def test_no_command_builds_a_class_that_a_run_names_wrongly(field, tmp_path, monkeypatch):
    """A module from elsewhere is not imported, and one of the package's of another kind not."""
    config = tiny_board_experiment() if "environment" in field else evaluated(tiny_experiment())
    saved = {"format": 2, **to_data(config)}
    imported = []
    usual = importlib.import_module

    def watched(name, *rest):
        imported.append(name)
        return usual(name, *rest)

    monkeypatch.setattr(classes.importlib, "import_module", watched)
    for cls in ("antigravity:X", "rlsearch.training.metrics:SummaryWriter", "." * 1000 + ":x"):
        (tmp_path / "config.json").write_text(json.dumps(naming(saved, field, cls)))
        for line in COMMANDS[field]:
            words = {"RUN": tmp_path, "OUT": tmp_path / "out"}
            said = fail(*(words.get(word, word) for word in line.split()))
            assert f"{field} is '{cls[:20]}" in said
    assert not {"antigravity", "rlsearch.training.metrics"} & set(imported)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def evaluated(experiment):
    """The experiment with something in every field of a kind."""
    study = Accuracy(strategies=(Greedy(),))
    return dataclasses.replace(experiment, evaluation=(study,), prompting=FewShot())


def fields_of_classes(data, path=""):
    """The paths of all that names a class, as messages have them."""
    if isinstance(data, list):
        for number, item in enumerate(data):
            yield from fields_of_classes(item, f"{path.removesuffix('.')}[{number}].")
    elif isinstance(data, dict):
        for name, value in data.items():
            if name == "cls":
                yield f"{path}cls"
            yield from fields_of_classes(value, f"{path}{name}.")


def naming(data, field, cls):
    """A copy of the data in which `field` names the class."""
    data = json.loads(json.dumps(data))
    *parts, last = re.findall(r"\w+", field)
    place = data
    for part in parts:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = cls
    return data


EXPERIMENTS = (
    evaluated(with_stages(tiny_experiment(), "base")),
    tiny_board_experiment(),
    with_stages(verifier_experiment(), "orm"),
)


def test_every_field_that_names_a_class_is_checked_when_a_run_is_opened():
    seen = set()
    for experiment in EXPERIMENTS:
        data = {"format": 2, **json.loads(json.dumps(to_data(experiment)))}
        assert experiment_of(data) == experiment
        for field in fields_of_classes(data):
            seen.add(field)
            for cls in ("antigravity:X", "rlsearch.training.metrics:MetricsWriter"):
                with pytest.raises(ConfigError, match=f"^{re.escape(field)} is '{cls}'"):
                    experiment_of(naming(data, field, cls))
    assert seen == KINDS.keys() - {"strategy", "verifier"}
    assert "antigravity" not in sys.modules


def test_a_class_is_of_one_kind():
    """No field takes what another is for: a task is no stage, and a strategy no study."""
    for field, kind in KINDS.items():
        for other in RIGHT.keys() - {kind}:
            for cls in classes_of(other).values():
                if cls not in classes_of(kind).values():
                    with pytest.raises(ValueError):
                        FINDERS[field](f"{cls.__module__}:{cls.__name__}")
    assert type(FINDERS["task.cls"]("rlsearch.tasks.game24:Game24").task) is Game24

"""Every number that a config or an option takes has a largest one and is refused beyond it."""

import argparse
import dataclasses
import time
import typing

import pytest

from rlsearch.classes import classes_of
from rlsearch.cli import main as main_module
from rlsearch.config import (
    ENVIRONMENT,
    STAGE,
    STRATEGY,
    STUDY,
    TASK,
    Adapter,
    Experiment,
    OptimizerConfig,
)
from rlsearch.config_data import LARGEST, SEVERAL, ConfigError, from_data, to_data
from rlsearch.config_file import override
from rlsearch.runs.opening import experiment_of
from rlsearch.stages.expert_iteration import ExpertIteration
from rlsearch.training import loop
from tests.boards import tiny_board_experiment
from tests.commands import fail
from tests.tiny import tiny_experiment, with_stage, write_config_file


def numbers(cls: type, path: str = "") -> list[tuple[str, type]]:
    """Paths and types of the numbers among a dataclass's fields, those of groups behind theirs."""
    found = []
    for name, hint in typing.get_type_hints(cls).items():
        if name not in {field.name for field in dataclasses.fields(cls)}:
            continue
        item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        if dataclasses.is_dataclass(item):
            found += numbers(item, f"{path}{name}.")
        elif item in (int, float):
            found.append((f"{path}{name}", item))
    return found


CLASSES = [
    cls
    for kind in (TASK, STAGE, STRATEGY, STUDY, ENVIRONMENT)
    for cls in classes_of(kind).values()
    if all(field.default is not dataclasses.MISSING for field in dataclasses.fields(cls))
]


def example(cls: type):
    """A value with the defaults, and with what has none that is valid."""
    return cls(num_steps=1) if cls is ExpertIteration else cls()


FIELDS = [(cls, *each) for cls in (Experiment, *CLASSES) for each in numbers(cls)]


def with_value(data: dict, path: str, value) -> dict:
    """`data` with another value at a path; of several values the first."""
    name, _, rest = path.partition(".")
    if rest:
        return {**data, name: with_value(data[name], rest, value)}
    return {**data, name: [value] if isinstance(data[name], list) else value}


@pytest.mark.parametrize(
    ("cls", "path", "kind"), FIELDS, ids=[f"{cls.__name__}.{path}" for cls, path, _ in FIELDS]
)
def test_a_number_beyond_all_bounds_is_refused_where_it_stands(cls, path, kind):
    value = tiny_experiment() if cls is Experiment else example(cls)
    data = to_data(value)
    for huge in (10**19, -(10**19), 10**400) if kind is int else (1e300, -1e300):
        with pytest.raises(ConfigError) as error:
            from_data(type(value), with_value(data, path, huge))
        said = str(error.value)
        assert path.rpartition(".")[2] in said and len(said) < 500


def test_the_bounds_are_of_fields_that_there_are():
    names = {path.rpartition(".")[2] for _, path, _ in FIELDS}
    assert set(LARGEST) <= names | {"lookahead"}


def test_the_command_line_knows_which_fields_take_several_values():
    """Beside the one that is a list only in a study that the command line names otherwise."""
    several = set()
    groups = Adapter, OptimizerConfig, *(type(f.default) for f in dataclasses.fields(Experiment))
    for cls in (Experiment, *CLASSES, *groups):
        if not dataclasses.is_dataclass(cls):
            continue
        hints = typing.get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls)]
        several |= {name for name in names if typing.get_origin(hints[name]) is tuple}
    assert several <= {*SEVERAL, "verifiers"}
    assert set(SEVERAL) <= several


def options() -> list[tuple[str, argparse.Action]]:
    """Every option of every command that takes a number."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    for command in main_module.COMMANDS:
        command.add_parser(subparsers)
    found = []
    for name, sub in subparsers.choices.items():
        actions = sub._actions
        for action in [a for a in actions if isinstance(a, argparse._SubParsersAction)]:
            for inner, parser in action.choices.items():
                found += [(f"{name} {inner}", x) for x in parser._actions if x.type is not None]
        found += [(name, action) for action in actions if action.type is not None]
    return found


@pytest.mark.parametrize(
    ("command", "action"), options(), ids=[f"{c} {a.option_strings[0]}" for c, a in options()]
)
def test_an_option_has_a_largest_number_too(command, action):
    for huge in ("1" + "0" * 19, "-1", "1" + "0" * 5000):
        with pytest.raises((argparse.ArgumentTypeError, ValueError, OverflowError)):
            value = action.type(huge)
            if action.type is float and not 0 <= value < 1e6:
                raise ValueError("the command refuses it")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (["--model.num_layers", "1000", "--model.embed_dim", "65536"], "model.num_layers"),
        (["--distilled.search.num_simulations", "1000000"], "distilled.search.num_simulations"),
        (["--self_play.num_games", "16777216"], "self_play.replay_moves"),
    ],
)
def test_what_no_device_can_hold_is_said_before_anything_is_traced(fields, field, tmp_path):
    config = tiny_board_experiment() if "self_play" in fields[0] else tiny_experiment()
    config = override(config, fields)
    if "model" in fields[0]:
        config = with_stage(config, "base")
    began = time.monotonic()
    with pytest.raises(ValueError, match=rf"{field} is too large: .* GiB on each device"):
        loop.train(config, str(tmp_path / "run"))
    assert time.monotonic() - began < 30
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_command_refuses_a_layer_too_many_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_config_file(tmp_path / "tiny.py")
    said = fail("train", config, "--model.num_layers", "1000000")
    assert "model.num_layers is 1000000: it must be from -1,000 to 1,000" in said
    with pytest.raises(ConfigError, match="seed is -1"):
        experiment_of({"format": 2, **to_data(tiny_experiment()), "seed": -1})

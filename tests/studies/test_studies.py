"""What is common to all studies: they are values, and refuse what they cannot tell apart."""

import argparse
import dataclasses

import pytest

from rlsearch.cli.evaluate import OPTIONS, STUDIES, fields_for, study_class
from rlsearch.cli.parser import Parser
from rlsearch.config_data import ConfigError
from rlsearch.strategies.beam_search import BeamSearch
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.drawing import drawing_of
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.studies.accuracy import Accuracy
from rlsearch.studies.base import in_common

KINDS = pytest.mark.parametrize("suite", STUDIES)


def given(suite, **options):
    """The fields that the command line gives a study."""
    options = dict.fromkeys(OPTIONS) | options
    arguments = argparse.Namespace(suite=suite or None, parser=Parser(prog="x"), **options)
    return fields_for(arguments, study_class(suite))


@KINDS
def test_a_study_is_a_value(suite):
    study = study_class(suite)
    required = [f.name for f in dataclasses.fields(study) if f.default is dataclasses.MISSING]
    assert required == (["against"] if suite == "exchange" else [])
    made = study(**dict.fromkeys(required, "run"))
    assert made == study(**dict.fromkeys(required, "run")) and hash(made) == hash(made)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.split = "training"


@KINDS
def test_the_command_line_reaches_every_field_and_refuses_every_other_option(suite):
    study, name = study_class(suite), suite or "accuracy"
    needed = {"against": "run"} if suite == "exchange" else {}
    reached = set()
    for option, names in OPTIONS.items():
        fields = {field.name: field for field in dataclasses.fields(study)}
        found = [fields[name] for name in names if name in fields]
        several = option in ("strategies", "budgets", "seeds", "policies", "sequential", "verifier")
        value = [3] if several else 3
        written = option.replace("_", "-")
        if not found:
            with pytest.raises(ConfigError, match=f"--{written} is not for the study of {name}"):
                given(suite, **needed | {option: value})
            continue
        (field,) = found
        reached.add(field.name)
        takes_many = isinstance(field.default, tuple)
        assert given(suite, **needed | {option: value})[field.name] == ((3,) if takes_many else 3)
        if several and takes_many:
            assert given(suite, **needed | {option: [3, 4]})[field.name] == (3, 4)
        elif several:
            with pytest.raises(ConfigError, match=f"--{option} takes one value in the study of"):
                given(suite, **needed | {option: [3, 4]})
    assert reached == {field.name for field in dataclasses.fields(study)}


def test_what_a_study_needs_is_asked_for():
    with pytest.raises(ConfigError, match="the study of exchange needs --against"):
        given("exchange")


def test_two_strategies_of_one_name_are_refused():
    different = (BeamSearch(expansions=2), Greedy(), BeamSearch(expansions=4))
    with pytest.raises(ValueError, match="beam_search, greedy, beam_search: beam_search is there"):
        Accuracy().alike(different, None)
    assert Accuracy().alike(different[:2], None) == different[:2]
    assert Accuracy(strategies=different) == Accuracy(strategies=different)


def test_strategies_that_are_compared_draw_and_choose_alike():
    sharp = (BestOfN(temperature=0.5), Greedy(), TreeSearch())
    with pytest.raises(
        ValueError, match="^temperature is 0.5 of best_of_n, 1.0 of tree_search: strategies that"
    ):
        Accuracy().alike(sharp, None)
    made = Accuracy(temperature=0.7, min_p=0.0).alike(sharp, 0.3)
    assert in_common(made) == {"temperature": 0.7, "min_p": 0.0, "policy_weight": 0.3}
    assert [drawing_of(x) for x in made] == [in_common(made), {}, in_common(made)]
    plain = Accuracy(policy_weight=0.0).alike(sharp[1:], 0.3)
    assert in_common(plain)["policy_weight"] == 0.0
    for wrong in ({"min_p": 1.0}, {"policy_weight": -1.0}, {"temperature": -0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
            Accuracy(**wrong)

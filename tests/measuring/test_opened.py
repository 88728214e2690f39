"""An opened run, on runs that were saved."""

import shutil

import jax
import numpy as np
import pytest

from rlsearch.measuring.examination import examine
from rlsearch.measuring.opened import open_run
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.revisions import Revisions
from rlsearch.verifiers.network import NetworkVerifier
from tests.golden_runs import FOLDER

TINY, JUDGED = FOLDER / "runs" / "tiny", FOLDER / "runs" / "tiny_arithmetic"


@pytest.fixture(scope="module")
def opened():
    return open_run(str(TINY))


@pytest.fixture(scope="module")
def judged():
    return open_run(str(JUDGED))


def test_policies_are_those_whose_training_is_complete(opened, tmp_path):
    steps = opened.policies()
    assert list(steps.values()) == [3, 6, 9] and opened.path == str(TINY)
    first, second, third = steps
    assert opened.complete_policies((third, first)) == {third: 9, first: 3}
    assert opened.default_policy() == second and opened.pretrained_policy() == first
    with pytest.raises(ValueError, match=f"policy is 'best': this run has {first}, {second}"):
        opened.complete_policies((first, "best"))
    (tmp_path / "config.json").write_bytes((TINY / "config.json").read_bytes())
    shutil.copytree(TINY / "checkpoints" / "9", tmp_path / "checkpoints" / "9")
    later = open_run(str(tmp_path))
    assert later.policies() == {third: 9} and later.default_policy() == third
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(ValueError, match="no stage of it is complete yet"):
        later.writer()


def test_all_writers_of_a_run_share_one_policy(opened):
    """It is static in `jit`, by identity: another one would compile every program again."""
    _, contestants = examine(opened, (), 2, "held_out")
    assert [x.name for x in contestants] == list(opened.policies())
    assert len({id(x.writer.policy) for x in contestants}) == 1
    assert len({jax.tree.structure(x.writer) for x in contestants}) == 1
    one, other = (jax.tree.leaves(x.writer) for x in contestants[:2])
    assert any((np.asarray(x) != np.asarray(y)).any() for x, y in zip(one, other, strict=True))


def test_strategies_are_named_once_with_the_runs_length_of_chains(opened):
    named = opened.named_strategies(["revisions", "greedy", "revisions"])
    assert named == (Revisions(opened.defaults.sequential), Greedy())
    with pytest.raises(ValueError, match="strategy is 'best'"):
        opened.named_strategies(["best"])


def test_a_verifier_knows_what_it_has_learnt_from_in_its_run_and_from_outside(judged, opened):
    outcomes, steps = judged.verifiers()
    assert judged.complete_verifiers() == judged.verifiers() and not opened.complete_verifiers()
    for run, prefix in ((judged, ""), (opened, f"{JUDGED}/")):
        made = [run.training_of(f"{prefix}{name}")["labels"] for name in (outcomes, steps)]
        assert made == ["outcomes", "exact"]
        assert run.training_of(f"{prefix}value_head") == {}
    one, other = (judged.judge(name) for name in (outcomes, steps))
    assert isinstance(one, NetworkVerifier) and isinstance(other, NetworkVerifier)
    assert (one.aggregation, other.aggregation) == ("last", "prod")
    assert judged.judge(steps, "min").aggregation == "min"
    again = judged.judge(f"{JUDGED}/{steps}")
    for x, y in zip(jax.tree.leaves(other.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match="it judges rlsearch.tasks.arithmetic:Arithmetic"):
        opened.judge(f"{JUDGED}/{steps}")
    with pytest.raises(ValueError, match="aggregation is 'max': it must be last, min, prod, mean"):
        judged.judge(steps, "max")


def test_training_has_cost_what_its_stages_have(judged, opened):
    (policy, flops), (verifier, *_) = *judged.training_flops().items(), judged.verifiers()
    assert policy == judged.judged_policy() and flops > 0
    assert judged.verifier_training_flops(verifier) > 0
    assert judged.verifier_training_flops("value head") == 0.0
    outside = opened.verifier_training_flops(f"{JUDGED}/{verifier}")
    assert outside == judged.verifier_training_flops(verifier)

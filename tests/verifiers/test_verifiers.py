import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.decoding.steps import sample_solutions, start
from rlsearch.parallel.mesh import row_keys
from rlsearch.verifiers.base import load_verifier
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import ToyTask, perturbed, toy_form, toy_model

PROMPTS = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (4, 1))
MODEL, FORM = toy_model()[0], toy_form()
PARAMS = perturbed(toy_model()[1])


def scores(verifier, prefix):
    return jax.jit(lambda verifier: verifier.score(MODEL, PARAMS, PROMPTS, prefix, FORM))(verifier)


@pytest.fixture(scope="module")
def written():
    return sample_solutions(MODEL, PARAMS, PROMPTS, row_keys(jax.random.key(0), 36), FORM)[0]


@pytest.fixture(scope="module")
def unwritten():
    return start(MODEL, PARAMS, PROMPTS, FORM)[1]


def test_the_value_head_is_the_critic(written):
    found = scores(ValueHead(), written)
    np.testing.assert_allclose(found, MODEL.value(PARAMS, written.hidden), atol=1e-6)
    assert np.ptp(found) > 0.01


def test_the_checker_knows_what_is_finished_and_nothing_before(written, unwritten):
    task = ToyTask()
    right = task.check_tokens(PROMPTS, written.tokens)
    assert right.any() and not right.all()
    np.testing.assert_array_equal(scores(Checker.of(task), written), right.astype(np.float32))
    np.testing.assert_allclose(
        scores(Checker.of(task), unwritten), scores(ValueHead(), unwritten), atol=1e-6
    )


def test_no_verifier_tells_nothing_apart(written):
    assert np.ptp(scores(Constant(), written)) == 0


@pytest.mark.parametrize("verifier", [ValueHead(), Constant(), Checker(lambda x, y: x[:, 0] > 0)])
def test_what_needs_no_network_of_its_own_reads_nothing(verifier, written):
    assert not verifier.tokens(PROMPTS, written).any()


def test_verifiers_are_found_by_name():
    task = ToyTask()
    assert load_verifier("value_head", task) == ValueHead()
    assert load_verifier("constant", task) == Constant()
    assert load_verifier("checker", task).oracle and not ValueHead().oracle
    assert load_verifier("rlsearch.verifiers.value_head:ValueHead", task) == ValueHead()


@pytest.mark.parametrize("name", ["value", "base", "aggregate", "", ":", "os:system"])
def test_an_unknown_verifier_is_named(name):
    with pytest.raises(ValueError, match=f"verifier is '{name}': it must be value_head, constant"):
        load_verifier(name, ToyTask())

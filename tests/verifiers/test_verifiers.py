import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.parallel.mesh import row_keys
from rlsearch.verifiers.base import load_verifier
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import ToyTask, toy_writer

PROMPTS = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (4, 1))
WRITER = toy_writer(0.3)


score = jax.jit(lambda verifier, draft: verifier.score(WRITER, draft))


@pytest.fixture(scope="module")
def written():
    keys = row_keys(jax.random.key(0), 36)
    return jax.jit(lambda writer: writer.sample(PROMPTS, keys)[0])(WRITER)


@pytest.fixture(scope="module")
def unwritten():
    return WRITER.start(PROMPTS)


def test_the_value_head_is_the_critic(written):
    found = score(ValueHead(), written)
    np.testing.assert_allclose(found, WRITER.value(written), atol=1e-6)
    assert np.ptp(found) > 0.01


def test_the_checker_knows_what_is_finished_and_nothing_before(written, unwritten):
    task = ToyTask()
    right = task.check_tokens(PROMPTS, written.line.tokens)
    assert right.any() and not right.all()
    np.testing.assert_array_equal(score(Checker.of(task), written), right.astype(np.float32))
    np.testing.assert_allclose(
        score(Checker.of(task), unwritten), score(ValueHead(), unwritten), atol=1e-6
    )


def test_no_verifier_tells_nothing_apart(written):
    assert np.ptp(score(Constant(), written)) == 0


@pytest.mark.parametrize("verifier", [ValueHead(), Constant(), Checker(lambda x, y: x[:, 0] > 0)])
def test_what_needs_no_network_of_its_own_reads_nothing(verifier, written):
    assert not verifier.tokens(written).any()


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

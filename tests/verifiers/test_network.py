import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.networks.head import Head
from rlsearch.networks.language_model import LanguageModel
from rlsearch.parallel.mesh import row_keys
from rlsearch.verifiers.head import HeadVerifier
from rlsearch.verifiers.network import NetworkVerifier
from tests.toy import PAD, C, ToyTask, ending_format, ending_writer, perturbed, toy_model

PROMPTS = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (3, 1))
WRITER, FORMAT, MODEL = ending_writer(), ending_format(), toy_model()[0]
P = PROMPTS.shape[1]


def judge() -> NetworkVerifier:
    """A network of its own, of another shape than the policy's."""
    network = LanguageModel(dataclasses.replace(MODEL.config, num_layers=1), 5)
    return NetworkVerifier(perturbed(network.init(jax.random.key(1))), network, "judge")


@pytest.fixture(scope="module")
def along():
    """Solutions written step by step, and what the verifier said when it read along."""
    verifier, keys = judge(), row_keys(jax.random.key(0), len(PROMPTS))

    @jax.jit
    def write(writer, verifier):
        draft = writer.start(PROMPTS)
        memory, read = verifier.start(writer, draft)
        seen = []
        for step in range(FORMAT.num_steps):
            going_on = ~writer.finished(draft)
            step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
            draft, _ = writer.step(draft, step_keys)
            score, memory, tokens = verifier.read(writer, draft, memory)
            anew = verifier.score(writer, draft)
            seen.append((score, anew, tokens, verifier.tokens(draft), going_on))
        return draft.line, read, seen

    return jax.tree.map(np.asarray, write(WRITER, verifier))


def test_reading_along_and_reading_anew_say_the_same(along):
    _, _, seen = along
    for score, anew, *_ in seen:
        np.testing.assert_allclose(score, anew, atol=1e-5)
    assert np.ptp(seen[0][0]) > 0.01 and np.abs(seen[0][0] - seen[1][0]).max() > 0.01


def test_all_steps_are_scored_in_one_call(along):
    line, _, seen = along
    scores, tokens = jax.jit(lambda v: v.step_scores(PROMPTS, jnp.array(line.tokens), FORMAT))(
        judge()
    )
    for step, (score, *_, going_on) in enumerate(seen):
        np.testing.assert_allclose(scores[:, step], np.where(going_on, score, 1.0), atol=1e-5)
    assert not seen[-1][4].all()  # some had ended before
    np.testing.assert_array_equal(tokens, P + line.length)


def test_every_token_is_paid_for_once_along_and_each_time_anew(along):
    line, read, seen = along
    np.testing.assert_array_equal(read, np.full(len(PROMPTS), P))
    np.testing.assert_array_equal(sum(tokens for _, _, tokens, *_ in seen), line.length)
    for step in range(FORMAT.num_steps):
        so_far = sum(tokens for _, _, tokens, *_ in seen[: step + 1])
        np.testing.assert_array_equal(seen[step][3], P + so_far)


def test_what_stands_behind_a_solution_changes_nothing():
    one = jnp.array([[2, 1, C, PAD, PAD, PAD], [2, 1, 3, 1, C, PAD]], jnp.int32)
    other = one.at[0, 3:].set(1)
    verifier = judge()
    scores = [verifier.step_scores(PROMPTS[:2], x, FORMAT)[0] for x in (one, other)]
    np.testing.assert_allclose(scores[0][0, :2], scores[1][0, :2], atol=1e-6)


def test_a_head_reads_nothing_and_speaks_of_the_policys_trunk():
    head = Head(MODEL.config)
    assert head.num_params() == sum(x.size for x in jax.tree.leaves(head.init(jax.random.key(0))))
    verifier = HeadVerifier(perturbed(head.init(jax.random.key(0))), head, "head", "base")
    keys = row_keys(jax.random.key(0), len(PROMPTS))
    draft = jax.jit(lambda writer: writer.sample(PROMPTS, keys)[0])(WRITER)
    found = verifier.score(WRITER, draft)
    own = WRITER.params | {"value_head": verifier.params}  # the head in the policy's place
    np.testing.assert_allclose(found, MODEL.value(own, draft.line.hidden), atol=1e-6)
    assert np.ptp(found) > 0.01 and not verifier.tokens(draft).any()

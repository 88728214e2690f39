"""Verifiers learn to tell right from wrong; what they are trained on is not changed by it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rlsearch.decoding.steps import sample_solutions
from rlsearch.training.verifiers import token_logits, verifier_stage

from rlsearch.config import OptimizerConfig, ParallelConfig, VerifierConfig
from rlsearch.measuring.calibration import auc
from rlsearch.networks.head import Head
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.stage import Checkpoint
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import init_state, run_key
from rlsearch.training.step import make_step
from rlsearch.verifiers.network import NetworkVerifier
from tests.toy import ToyTask, perturbed, toy_form, toy_model

POLICY, FRESH = toy_model()
PARAMS, FORM = perturbed(FRESH, 0.15), toy_form()
NUM_STEPS = 60


class LabelledToyTask(ToyTask):
    """A step is right if all before it are; the first and the last have a letter to hit."""

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        first = solutions[:, 0] == prompts[:, 0]
        last = first & (solutions[:, 4] == prompts[:, 1])
        return jnp.stack([first, first, last], axis=1)


class EasyToyTask(LabelledToyTask):
    """The first letter alone decides."""

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return solutions[:, 0] == prompts[:, 0]


class InvertedToyTask(LabelledToyTask):
    """What was right is wrong, and the other way round."""

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return ~super().label_steps(prompts, solutions)

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return ~super().check_tokens(prompts, solutions)


@functools.cache
def learn(name: str, task: type[ToyTask], network: str = "own"):
    """The stage, its state after training, and the last metrics."""
    config = VerifierConfig(
        train=(name,),
        network=network,
        model=POLICY.config,
        num_steps=NUM_STEPS,
        num_solutions=32,
        replay_size=256,
        updates_per_step=4,
        batch_size=64,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
    )
    stage = verifier_stage(name, config, task(), FORM, Checkpoint(POLICY, 1))
    params = PARAMS if stage.start else jax.jit(stage.model.init)(run_key(0, "parameters", 0))
    optimizer = make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)
    step = make_step(stage, optimizer, make_mesh(ParallelConfig(data=1)))
    state = jax.jit(lambda own, key, read: init_state(own, optimizer, stage, key, read))(
        params, run_key(0, "memory", 0), PARAMS
    )
    metrics = {}
    for number in range(NUM_STEPS):
        state, metrics = step(state, run_key(0, "training", number), PARAMS)
        jax.block_until_ready(metrics)
    return stage, state, {name: float(value) for name, value in metrics.items()}


@functools.cache
def samples():
    prompts = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (20, 1))
    keys = row_keys(run_key(0, "evaluation", 0), len(prompts))
    write = jax.jit(lambda params: sample_solutions(POLICY, params, prompts, keys, FORM)[0].tokens)
    return prompts, write(PARAMS)


def step_scores(name: str, task: type[ToyTask]) -> np.ndarray:
    stage, state, _ = learn(name, task)
    verifier = NetworkVerifier(state.params, stage.model, name)
    return np.asarray(jax.jit(lambda v: v.step_scores(*samples(), FORM)[0])(verifier))


@pytest.mark.parametrize(
    ("task", "low", "high"),
    [
        (LabelledToyTask, 0.95, 1.0),
        pytest.param(InvertedToyTask, 0.0, 0.05, marks=pytest.mark.slow),
    ],
)
def test_a_process_reward_model_tells_right_steps_from_wrong_ones(task, low, high):
    labels = np.asarray(LabelledToyTask().label_steps(*samples()))
    assert 0.05 < labels.mean() < 0.95
    found = auc(step_scores("prm", task).reshape(-1), labels.reshape(-1))
    assert found is not None and low <= found <= high


@pytest.mark.slow
def test_an_outcome_reward_model_knows_behind_every_step_how_it_will_end():
    right = np.asarray(EasyToyTask().check_tokens(*samples()))
    scores = step_scores("orm", EasyToyTask)
    for step in range(FORM.num_steps):
        found = auc(scores[:, step], right)
        assert found is not None and found > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("network", ["copy", "head"])
def test_a_copy_begins_as_the_policy_and_a_head_stays_on_its_trunk(network):
    stage, state, metrics = learn("prm", LabelledToyTask, network)
    if network == "copy":
        assert stage.start == stage.reads == Checkpoint(POLICY, 1)
        assert jax.tree.structure(state.params) == jax.tree.structure(PARAMS)
        assert metrics["verifier_accuracy"] > 0.95
    else:
        assert isinstance(stage.model, Head) and stage.start is None
        assert jax.tree.structure(state.params) == jax.tree.structure(PARAMS["value_head"])
        assert metrics["verifier_loss"] < 0.6  # a random trunk does not say much
    own = perturbed(PARAMS, 0.0) | {"value_head": state.params} if network == "head" else None
    rows = stage.batch(state.memory, jax.random.key(0))
    found = token_logits(stage.model, POLICY, (state.params, PARAMS), rows)
    if own is not None:  # as the policy with that head would have said
        tokens = jnp.concatenate([rows.prompts, rows.solutions], axis=1)
        expected = POLICY.value_logit(own, POLICY.read(own, tokens)[0][:, 3:])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_that_a_task_cannot_give_are_refused():
    config = VerifierConfig(train=("prm",))
    with pytest.raises(ValueError, match="'exact': ToyTask cannot label steps on the device"):
        verifier_stage("prm", config, ToyTask(), FORM, Checkpoint(POLICY, 1))

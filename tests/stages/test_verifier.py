"""Verifiers learn to tell right from wrong; what they are trained on is not changed by it."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import Experiment, OptimizerConfig, ParallelConfig
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.calibration import auc
from rlsearch.networks.head import Head
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import CheckpointRef, Weights
from rlsearch.stages.traces import Traces
from rlsearch.stages.verifier import ExactSteps, Outcomes, Verifier, token_logits
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import init_state, run_key
from rlsearch.training.step import make_step
from rlsearch.verifiers.network import NetworkVerifier
from tests.toy import ToyTask, perturbed, toy_format, toy_model, toy_policy

POLICY, FRESH = toy_model()
PARAMS, FORMAT = perturbed(FRESH, 0.15), toy_format()
NUM_STEPS = 60


@dataclasses.dataclass(frozen=True)
class LabelledToyTask(ToyTask):
    """A step is right if all before it are; the first and the last have a letter to hit."""

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        first = solutions[:, 0] == prompts[:, 0]
        last = first & (solutions[:, 4] == prompts[:, 1])
        return jnp.stack([first, first, last], axis=1)


@dataclasses.dataclass(frozen=True)
class EasyToyTask(LabelledToyTask):
    """The first letter alone decides."""

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return solutions[:, 0] == prompts[:, 0]


@dataclasses.dataclass(frozen=True)
class InvertedToyTask(LabelledToyTask):
    """What was right is wrong, and the other way round."""

    def label_steps(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return ~super().label_steps(prompts, solutions)

    def check_tokens(self, prompts: jax.Array, solutions: jax.Array) -> jax.Array:
        return ~super().check_tokens(prompts, solutions)


def built(verifier: Verifier, task: Any):
    """The stage behind one that ends with the toy policy."""
    stages = Traces(num_steps=1), verifier
    return verifier.build(Lineage(Experiment(task=task, model=POLICY.config, stages=stages)))


@functools.cache
def learn(name: str, task: type[ToyTask], network: str = "own"):
    """The stage, its state after training, and the last metrics."""
    verifier = Verifier(
        name,
        labels=Outcomes() if name == "orm" else ExactSteps(),
        network=network,
        model=POLICY.config,
        num_steps=NUM_STEPS,
        num_solutions=32,
        replay_size=256,
        updates_per_step=4,
        batch_size=64,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
    )
    stage = built(verifier, task())
    params = PARAMS if stage.start else jax.jit(stage.model.init)(run_key(0, "parameters", 0))
    optimizer = make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)
    step = make_step(stage, optimizer, make_mesh(ParallelConfig(data=1)))
    key, read = run_key(0, "memory", 0), {"policy": PARAMS}
    state = jax.jit(lambda *x: init_state(Weights(*x), optimizer, stage, key))(params, read)
    metrics = {}
    for number in range(NUM_STEPS):
        state, metrics = step(state, run_key(0, "training", number), read)
        jax.block_until_ready(metrics)
    return stage, state, {name: float(value) for name, value in metrics.items()}


@functools.cache
def samples():
    prompts = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (20, 1))
    keys = row_keys(run_key(0, "evaluation", 0), len(prompts))
    write = jax.jit(lambda params: Writer(toy_policy(), params).sample(prompts, keys)[0])
    return prompts, write(PARAMS).line.tokens


def step_scores(name: str, task: type[ToyTask]) -> np.ndarray:
    stage, state, _ = learn(name, task)
    verifier = NetworkVerifier(state.params, stage.model, name)
    return np.asarray(jax.jit(lambda v: v.step_scores(*samples(), FORMAT)[0])(verifier))


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
    for step in range(FORMAT.num_steps):
        found = auc(scores[:, step], right)
        assert found is not None and found > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("network", ["copy", "head"])
def test_a_copy_begins_as_the_policy_and_a_head_stays_on_its_trunk(network):
    stage, state, metrics = learn("prm", LabelledToyTask, network)
    assert stage.reads == {"policy": CheckpointRef(POLICY, "base", 1)}
    if network == "copy":
        assert stage.start == CheckpointRef(POLICY, "base", 1)
        assert jax.tree.structure(state.params) == jax.tree.structure(PARAMS)
        assert metrics["verifier_accuracy"] > 0.95
    else:
        assert isinstance(stage.model, Head) and stage.start is None
        assert jax.tree.structure(state.params) == jax.tree.structure(PARAMS["value_head"])
        assert metrics["verifier_loss"] < 0.6  # a random trunk does not say much
    own = perturbed(PARAMS, 0.0) | {"value_head": state.params} if network == "head" else None
    rows = stage.batch(state.memory, jax.random.key(0), jnp.int32(0))
    weights = Weights(state.params, {"policy": PARAMS})
    found = token_logits(stage.model, toy_policy(), weights, rows)
    if own is not None:  # as the policy with that head would have said
        tokens = jnp.concatenate([rows.prompts, rows.solutions], axis=1)
        expected = POLICY.value_logit(own, POLICY.read(own, tokens)[0][:, 3:])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_labels_that_a_task_cannot_give_are_refused():
    with pytest.raises(ValueError, match="'exact': ToyTask cannot label steps on the device"):
        built(Verifier("prm", labels=ExactSteps()), ToyTask())

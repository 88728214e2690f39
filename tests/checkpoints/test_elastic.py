"""A checkpoint of eight devices goes on where there are fewer, or where the mesh has another shape.

Eight fake devices stand for a pod; `loop.train` and the store are the real ones.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Weights
from rlsearch.training import loop
from rlsearch.training.state import abstract_state, init_state, stage_optimizer, state_shardings
from tests.tiny import tiny_experiment, with_stage, with_stages
from tests.toy import perturbed

EIGHT = ParallelConfig(replica=2, data=2, model=2)
OTHERS = [  # on 4, 2 and 1 devices, and on eight in another shape
    ParallelConfig(data=2, model=2),
    ParallelConfig(data=2),
    ParallelConfig(data=1),
    ParallelConfig(data=8),
]


def experiment(parallel):
    config = with_stages(tiny_experiment(), "base", "distilled")
    config = with_stage(config, "distilled", teaching={"num_problems": 8})
    shape = dataclasses.replace(config.model, num_kv_heads=2, scan_layers=True)
    return dataclasses.replace(config, model=shape, parallel=parallel)


STAGES = loop.build_stages(Lineage(experiment(EIGHT)))
MODEL: Any = STAGES[0].model
PROMPTS = jax.random.randint(jax.random.key(5), (4, 12), 0, MODEL.vocab_size)


@jax.jit
def evaluated(params):
    """What is decided by: probabilities of the next tokens, and values."""
    hidden, _ = MODEL.read(params, PROMPTS)
    return jax.nn.softmax(MODEL.policy_logits(params, hidden)), MODEL.value(params, hidden)


def restored(store, step, stage, parallel):
    abstract = abstract_state(stage, make_mesh(parallel), parallel.rules)
    state = store.restore(step, abstract._asdict())
    for leaf, wanted in zip(
        jax.tree.leaves(state), jax.tree.leaves(abstract._asdict()), strict=True
    ):
        assert leaf.sharding == wanted.sharding
    return state


def assert_same_evaluation(one, other):
    for a, b in zip(evaluated(one["params"]), evaluated(other["params"]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def arrays(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_a_state_of_eight_devices_is_restored_on_fewer(tmp_path):
    stage, mesh = STAGES[0], make_mesh(EIGHT)
    shardings = state_shardings(MODEL, stage_optimizer(stage), mesh, EIGHT.rules)
    params = jax.device_put(perturbed(MODEL.init(jax.random.key(0))), shardings.params)
    init = jax.jit(
        lambda params: init_state(
            Weights(params), stage_optimizer(stage), stage, jax.random.key(1)
        ),
        out_shardings=shardings,
    )
    state = init(params)._asdict()
    with CheckpointStore(tmp_path, keep=1) as store:
        store.save(7, state, wait=True)
        for parallel in OTHERS:
            there = restored(store, 7, stage, parallel)
            for one, other in zip(arrays(state), arrays(there), strict=True):
                np.testing.assert_array_equal(one, other)
            assert_same_evaluation(state, there)


@pytest.mark.slow
def test_a_run_of_eight_devices_goes_on_anywhere(tmp_path):
    loop.train(experiment(EIGHT), str(tmp_path / "eight"))
    loop.train(experiment(ParallelConfig(data=1)), str(tmp_path / "one"))
    last = STAGES[-1].num_steps
    with (
        CheckpointStore(tmp_path / "eight/checkpoints/distilled", keep=1) as store,
        CheckpointStore(tmp_path / "one/checkpoints/distilled", keep=1) as alone,
    ):
        eight = restored(store, last, STAGES[-1], EIGHT)
        for parallel in OTHERS:
            assert_same_evaluation(eight, restored(store, last, STAGES[-1], parallel))
        # Trained on one device alone it comes to the same, but for rounding.
        one = restored(alone, last, STAGES[-1], ParallelConfig(data=1))
        for a, b in zip(arrays(eight["params"]), arrays(one["params"]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)

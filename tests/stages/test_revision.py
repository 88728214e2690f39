"""A policy that learns to revise gets better; the one that wrote its data stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import Experiment, OptimizerConfig, ParallelConfig
from rlsearch.decoding.sampling import Sampling
from rlsearch.decoding.writer import Writer
from rlsearch.measuring.calibration import auc
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import CheckpointRef, Weights
from rlsearch.stages.revision import Revision
from rlsearch.stages.traces import Traces
from rlsearch.strategies.chains import sample_chains
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import init_state, run_key
from rlsearch.training.step import make_step
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import ToyTask, perturbed, toy_model, toy_policy

MODEL, FRESH = toy_model()
PARAMS, NUM_STEPS = perturbed(FRESH, 0.15), 80


@pytest.mark.slow
def test_a_copy_learns_what_is_right_first_and_behind_what_is_wrong():
    settings = Revision(
        num_steps=NUM_STEPS,
        num_problems=16,
        num_samples=16,
        replay_size=2048,
        updates_per_step=4,
        batch_size=64,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
    )
    task = ToyTask()
    config = Experiment(task=task, model=MODEL.config, stages=(Traces(num_steps=7), settings))
    stage = settings.build(Lineage(config))
    assert stage.start == CheckpointRef(MODEL, "base", 7)
    assert stage.reads == {"policy": stage.start}
    optimizer = make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)
    step = make_step(stage, optimizer, make_mesh(ParallelConfig(data=1)))
    key = run_key(0, "memory", 0)
    read = {"policy": PARAMS}
    state = jax.jit(lambda *x: init_state(Weights(*x), optimizer, stage, key))(PARAMS, read)
    solved = []
    for number in range(NUM_STEPS):
        state, metrics = step(state, run_key(0, "training", number), read)
        solved.append(float(metrics["sample_accuracy"]))
    halves = np.array(solved).reshape(2, -1).mean(axis=1)
    assert abs(halves[0] - halves[1]) < 0.03  # of the policy that writes, which learns nothing

    prompts = jnp.tile(jnp.array(ToyTask.PROBLEMS[:-1], jnp.int32), (20, 1))
    keys = row_keys(jax.random.key(1), len(prompts))
    write = jax.jit(
        lambda params: sample_chains(
            Writer(toy_policy(), params), ValueHead(), prompts, keys, 1, 3, Sampling()
        )
    )

    def right(chains) -> np.ndarray:
        """`[B, 3]` bool, of the attempts of one chain."""
        each = [task.check_tokens(prompts, chains.tokens[:, 0, turn]) for turn in range(3)]
        return np.stack(each, axis=1)

    before, after = write(PARAMS), write(state.params)
    assert right(before).mean() < 0.2
    first, second = right(after)[:, 0], right(after)[:, 1]
    assert first.mean() > 0.5
    assert second[~first].mean() > 0.5  # behind an attempt that went wrong
    # Its own value head has learnt to tell them apart, whatever stands in the context.
    told_apart = auc(np.asarray(after.scores[:, 0]).reshape(-1), right(after).reshape(-1))
    assert told_apart is not None and told_apart > 0.75

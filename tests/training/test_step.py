"""One training step on meshes of every shape, over eight fake devices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlsearch.config import OptimizerConfig, ParallelConfig
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.step_targets import step_learning
from rlsearch.parallel.mesh import abstract_mesh, make_mesh
from rlsearch.planning.collectives import collectives
from rlsearch.runs.stage import Stage, StageFlops, Weights
from rlsearch.stages.ring import Learning, Origin, Ring, ring_stage
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import abstract_state, init_state, stage_optimizer, state_shardings
from rlsearch.training.step import make_step
from tests.toy import PAD, ToyTask, perturbed, wide_model

ROWS = 16
# replica, data, model, accumulate
ALONE = (1, 1, 1, 1)
MESHES = [(1, 8, 1, 1), (1, 4, 2, 2), (1, 2, 4, 1), (2, 2, 2, 1)]


def hindsight_stage(model, num_keys=ROWS, batch_size=ROWS) -> Stage:
    return ring_stage(
        Origin("base", num_steps=10),
        model,
        Ring(num_keys, 2 * num_keys, batch_size, 2, OptimizerConfig()),
        lambda weights, keys: (hindsight_targets(ToyTask(), keys, 0.4), {}),
        Learning(*step_learning(model, PAD)),
        StageFlops(0.0, 0.0),
    )


def compiled_step(sizes, model, params):
    """The step on a mesh, compiled; the mesh; and a state for it."""
    *sizes, accumulate = sizes
    # AdamW would make whole steps of gradients that differ from 0 by rounding alone.
    stage, optimizer, key = hindsight_stage(model), optax.sgd(0.3, momentum=0.9), jax.random.key(0)
    mesh = make_mesh(ParallelConfig(*sizes))
    shardings = state_shardings(model, optimizer, mesh)
    step = make_step(stage, optimizer, mesh, shardings, accumulate)
    init = jax.jit(
        lambda params: init_state(Weights(params), optimizer, stage, key), out_shardings=shardings
    )
    state = init(jax.device_put(params, shardings.params))
    return step.lower(state, key).compile(), mesh, state


@pytest.fixture(scope="module")
def steps():
    model, params = wide_model(num_layers=1)
    return {sizes: compiled_step(sizes, model, perturbed(params)) for sizes in (ALONE, *MESHES)}


def test_an_update_is_the_same_on_any_mesh(steps):
    before = jax.tree.map(np.array, steps[ALONE][2])
    (alone, losses), *others = (step(state, jax.random.key(3)) for step, _, state in steps.values())
    for state, metrics in others:
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(state), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        for name, value in losses.items():
            np.testing.assert_allclose(value, metrics[name], atol=1e-5)
    changed = [
        np.abs(one - other).max()
        for one, other in zip(
            jax.tree.leaves(before.params), jax.tree.leaves(alone.params), strict=True
        )
    ]
    assert min(changed) > 1e-4  # every parameter was learnt
    assert (alone.memory.added == 1).all()
    for _, _, donated in steps.values():
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated.params))
    assert set(losses) == {"policy_loss", "value_loss", "value_error", "gradient_norm"}


def test_parameters_and_moments_never_lie_whole_on_a_device(steps):
    for (replica, data, model, _), (step, _, _) in steps.items():
        state = step.input_shardings[0][0]
        for tree in (state.params, state.optimizer[0].trace):
            query = tree["blocks"][0]["attention"]["query"]
            assert query.shard_shape((16, 4, 4)) == (16 // data, 4 // model, 4)
            down = tree["blocks"][0]["mlp"]["down"]
            assert down.shard_shape((32, 16)) == (32 // model, 16 // data)
            assert tree["embedding"].shard_shape((5, 16)) == (5, 16 // data)
        assert state.memory.added.shard_shape((16,)) == (16 // (replica * data),)
        assert jax.tree.leaves(step.output_shardings[0]) == jax.tree.leaves(state)


def test_a_trace_tells_what_an_operation_is_for(steps):
    names = set(re.findall(r'op_name="jit\(step\)/([^"]*)"', steps[ALONE][0].as_text()))
    scopes = [name.split("/") for name in names]
    assert any(scope[0] == "collect" for scope in scopes)
    assert any(scope[0] == "update" and "jvp(network)" in scope for scope in scopes)
    assert not any({"collect", "update"} <= set(scope) for scope in scopes)


def test_what_an_update_says_over_which_axis(steps):
    said = {
        sizes: {(c.kind, c.axes) for c in collectives(step.as_text(), mesh)}
        for sizes, (step, mesh, _) in steps.items()
    }
    assert said.pop(ALONE) == set()
    assert {axes for _, axes in said[1, 8, 1, 1]} == {("data",)}
    for sizes, kinds in said.items():
        # Parameters are gathered; rows stay where they are, and whole in their features.
        assert ("all-gather", ("data",)) in kinds and ("all-reduce", ("data",)) in kinds
        assert "all-to-all" not in {kind for kind, _ in kinds}
        assert (("all-reduce", ("model",)) in kinds) == (sizes[2] > 1)
        assert (("all-reduce", ("replica",)) in kinds) == (sizes[0] > 1)


def test_a_step_is_lowered_for_devices_that_nobody_has():
    model, _ = wide_model(num_layers=1)
    stage = hindsight_stage(model, num_keys=64, batch_size=64)
    mesh = abstract_mesh(ParallelConfig(replica=2, model=4), 128)
    assert dict(mesh.shape) == {"replica": 2, "data": 16, "model": 4}
    abstract, key = abstract_state(stage, mesh), jax.eval_shape(jax.random.key, 0)
    shardings = state_shardings(model, stage_optimizer(stage), mesh)
    step = make_step(stage, stage_optimizer(stage), mesh, shardings)
    lowered = step.trace(abstract, key).lower(lowering_platforms=("tpu",))
    assert "mhlo.num_partitions = 128" in lowered.as_text()


@pytest.mark.parametrize(
    ("sizes", "stage", "message"),
    [
        ((1, 8), {"num_keys": 12}, "'base' runs 12 problems or games .*x data, 8"),
        ((2, 2, 2), {"num_keys": 6}, "'base' runs 6 problems or games .*x data, 4"),
        ((1, 8), {"batch_size": 12}, "minibatches of 12 rows: .*x data x accumulate, 8"),
        ((1, 8, 1, 4), {}, "minibatches of 16 rows: .*x data x accumulate, 32"),
    ],
)
def test_what_cannot_be_split_evenly_is_refused(sizes, stage, message):
    config = ParallelConfig(*sizes)
    with pytest.raises(ValueError, match=message):
        make_step(
            hindsight_stage(wide_model()[0], **stage),
            optax.sgd(0.1),
            make_mesh(config),
            accumulate=config.accumulate,
        )


def test_the_learning_rate_warms_up_and_decays():
    optimizer = make_optimizer(OptimizerConfig(learning_rate=0.1, warmup_steps=5), 20)
    params, sizes = jnp.ones(()), []
    state = optimizer.init(params)
    for _ in range(20):
        update, state = optimizer.update(jnp.ones(()), state, params)
        sizes.append(-float(update))
    assert sizes[0] == 0.0
    assert int(np.argmax(sizes)) == 5
    np.testing.assert_allclose(max(sizes), 0.1, rtol=0.02)  # and the decay of the weight
    assert sizes[-1] < 0.02

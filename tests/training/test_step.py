import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlsearch.config import DistillConfig, OptimizerConfig, ParallelConfig, SearchConfig
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.search_distillation import search_targets
from rlsearch.parallel.mesh import make_mesh, over_data, row_keys
from rlsearch.training.language import rows_stage
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.stage import Stage, StageFlops
from rlsearch.training.state import init_state, state_shardings
from rlsearch.training.step import make_step
from tests.hlo import collectives, collectives_in_loops, num_loops
from tests.toy import PAD, ToyTask, perturbed, toy_form, toy_model

ROWS = 16


def hindsight_stage(num_keys=ROWS) -> Stage:
    return rows_stage(
        toy_model()[0],
        PAD,
        name="base",
        start=None,
        num_steps=10,
        num_keys=num_keys,
        produce=lambda params, keys: (hindsight_targets(ToyTask(), keys, 0.4), {}),
        replay_size=2 * num_keys,
        updates_per_step=2,
        batch_size=ROWS,
        optimizer=OptimizerConfig(),
        flops=StageFlops(0.0, 0.0),
    )


def compiled_step(devices):
    """The step over some devices, compiled, and a state for it."""
    stage, (_, params), optimizer = hindsight_stage(), toy_model(), optax.sgd(0.3)
    mesh = make_mesh(ParallelConfig(data=devices))
    step = make_step(stage, optimizer, mesh)
    key = jax.random.key(0)
    init = jax.jit(
        lambda params: init_state(params, optimizer, stage, key),
        out_shardings=state_shardings(mesh),
    )
    state = init(perturbed(params))
    return step.lower(state, jax.random.key(0)).compile(), state


@pytest.fixture(scope="module")
def steps():
    return {devices: compiled_step(devices) for devices in (1, 2, 8)}


def test_an_update_is_the_same_over_any_number_of_devices(steps):
    before = jax.tree.map(np.array, steps[1][1])
    (alone, losses), *others = (step(state, jax.random.key(3)) for step, state in steps.values())
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
    for _, donated in steps.values():
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated.params))
    assert set(losses) == {"policy_loss", "value_loss", "value_error", "gradient_norm"}


def test_the_gradient_is_what_devices_talk_about(steps):
    assert collectives(steps[1][0].as_text()) == []
    for devices in (2, 8):
        assert "all-reduce" in collectives_in_loops(steps[devices][0].as_text())


def test_a_trace_tells_what_an_operation_is_for(steps):
    names = set(re.findall(r'op_name="jit\(step\)/([^"]*)"', steps[1][0].as_text()))
    scopes = [name.split("/") for name in names]
    assert any(scope[0] == "collect" for scope in scopes)
    assert any(scope[0] == "update" and "jvp(network)" in scope for scope in scopes)
    assert not any({"collect", "update"} <= set(scope) for scope in scopes)


@pytest.mark.parametrize("devices", [2, 8])
def test_a_search_never_waits_for_another_device(devices):
    model, params = toy_model()
    search = SearchConfig(num_simulations=4, num_candidates=3)
    config = DistillConfig(num_targets=2)

    def produce(params, keys):
        return search_targets(params, keys, ToyTask(), model, toy_form(), search, config, 0.4)

    mesh = make_mesh(ParallelConfig(data=devices))
    keys = row_keys(jax.random.key(0), ROWS)
    program = jax.jit(over_data(mesh, produce)).lower(params, keys).compile()
    text = program.as_text()
    assert f"num_partitions={devices}" in text
    assert num_loops(text) >= 3  # decisions, simulations, the way down the tree
    assert collectives_in_loops(text) == []
    assert re.search('op_name="[^"]*/search/[^"]*/network/', text)


@pytest.mark.parametrize("inside", [True, False])
def test_a_collective_in_a_loop_would_be_noticed(inside):
    mesh = make_mesh(ParallelConfig(data=2))

    def talk(x):
        return jax.lax.psum(jnp.sin(x), "data") / 2

    def turn(_, x):
        # A loop within the loop: what is reached through one body counts too.
        return jax.lax.fori_loop(0, x.shape[0], lambda _, y: talk(y) if inside else jnp.sin(y), x)

    def program(params, x):
        x = jax.lax.fori_loop(0, 3, turn, x + params)
        return x if inside else talk(x)

    text = jax.jit(over_data(mesh, program)).lower(jnp.ones(()), jnp.ones(4)).compile().as_text()
    assert collectives(text) == ["all-reduce"]
    assert collectives_in_loops(text) == (["all-reduce"] if inside else [])


def test_problems_that_cannot_be_split_evenly_are_refused():
    mesh = make_mesh(ParallelConfig(data=8))
    with pytest.raises(ValueError, match="'base' runs 12 problems or games .* parallel.data, 8"):
        make_step(hindsight_stage(12), optax.sgd(0.1), mesh)


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

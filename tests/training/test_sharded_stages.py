"""The real steps of real experiments, compiled for meshes of eight fake devices."""

import dataclasses

import jax
import pytest
from rlsearch.training.setup import model_and_stages

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.planning.collectives import collectives
from rlsearch.training.state import abstract_state, stage_optimizer, state_shardings
from rlsearch.training.step import make_step
from tests.boards import tiny_board_experiment
from tests.tiny import tiny_experiment


def language():
    config = tiny_experiment()
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, num_heads=4),
        distill=dataclasses.replace(config.distill, num_problems=8),
    )


def board():
    config = tiny_board_experiment()
    return dataclasses.replace(config, self_play=dataclasses.replace(config.self_play, num_games=8))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 8, 1), (1, 4, 2), (1, 2, 4), (2, 2, 2)])
@pytest.mark.parametrize(
    ("config", "name"), [(language(), "distilled"), (language(), "control"), (board(), "self_play")]
)
def test_nothing_that_is_collected_is_talked_about_over_data(config, name, sizes):
    model, stages = model_and_stages(config)
    stage = next(stage for stage in stages if stage.name == name)
    mesh, optimizer = make_mesh(ParallelConfig(*sizes)), stage_optimizer(stage)
    step = make_step(stage, optimizer, mesh, state_shardings(model, optimizer, mesh))
    abstract, key = abstract_state(stage, mesh), jax.eval_shape(jax.random.key, 0)
    found = collectives(step.lower(abstract, key).compile().as_text(), mesh)

    def axes(scope):
        return {c.axes for c in found if any(f"jit(step)/{scope}/" in loop for loop in c.loops)}

    assert axes("collect") == ({("model",)} if sizes[2] > 1 else set())
    update = axes("update") | {c.axes for c in found if "jit(step)/update/" in c.scope}
    assert ("data",) in update or ("replica", "data") in update

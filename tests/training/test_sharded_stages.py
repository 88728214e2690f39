"""The real steps of real experiments, compiled for meshes of eight fake devices."""

import dataclasses

import jax
import pytest

from rlsearch.config import ParallelConfig
from rlsearch.parallel.mesh import make_mesh
from rlsearch.planning.collectives import collectives
from rlsearch.runs.lineage import Lineage
from rlsearch.training.loop import build_stages
from rlsearch.training.state import abstract_state, stage_optimizer, state_shardings
from rlsearch.training.step import make_step
from tests.boards import tiny_board_experiment
from tests.tiny import tiny_experiment, with_stage


def language():
    config = tiny_experiment()
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, num_heads=4))
    for name in ("distilled", "control"):
        config = with_stage(config, name, teaching={"num_problems": 8})
    return config


def board():
    return tiny_board_experiment(num_games=8)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 8, 1), (1, 4, 2), (1, 2, 4), (2, 2, 2)])
@pytest.mark.parametrize(
    ("config", "name"), [(language(), "distilled"), (language(), "control"), (board(), "self_play")]
)
def test_nothing_that_is_collected_is_talked_about_over_data(config, name, sizes):
    stage = next(stage for stage in build_stages(Lineage(config)) if stage.name == name)
    mesh, optimizer = make_mesh(ParallelConfig(*sizes)), stage_optimizer(stage)
    step = make_step(stage, optimizer, mesh, state_shardings(stage.model, optimizer, mesh))
    abstract, key = abstract_state(stage, mesh), jax.eval_shape(jax.random.key, 0)
    found = collectives(step.lower(abstract, key).compile().as_text(), mesh)

    def axes(scope):
        return {c.axes for c in found if any(f"jit(step)/{scope}/" in loop for loop in c.loops)}

    assert axes("collect") == ({("model",)} if sizes[2] > 1 else set())
    update = axes("update") | {c.axes for c in found if "jit(step)/update/" in c.scope}
    assert ("data",) in update or ("replica", "data") in update

"""The shape of the figures, on a stage that is quick to compile; the slow tests take real ones."""

import dataclasses

import jax.numpy as jnp
import pytest

from rlsearch.benchmarks import train as bench_train
from rlsearch.config import OptimizerConfig
from rlsearch.objectives.hindsight import hindsight_targets
from rlsearch.objectives.step_targets import step_learning
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import StageFlops
from rlsearch.stages.ring import Learning, Origin, Ring, ring_stage
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.tree_distillation import TreeDistillation
from tests.boards import tiny_board_experiment
from tests.tiny import tiny_experiment, with_stages
from tests.toy import PAD, ToyTask, toy_model

CONFIG = tiny_experiment()
MODEL, _ = toy_model()
ROWS = Lineage(CONFIG).stage("distilled").teaching.num_problems
STAGE = ring_stage(
    Origin("distilled", num_steps=100),
    MODEL,
    Ring(ROWS, 2 * ROWS, ROWS, 2, OptimizerConfig()),
    lambda weights, keys: (
        hindsight_targets(ToyTask(), keys, 0.4),
        {"search_tokens": 5.0 + jnp.arange(ROWS)},
    ),
    Learning(*step_learning(MODEL, PAD)),
    StageFlops(produce=1e6, update=3e6),
)


def test_rates_are_of_the_time_of_a_step_and_shares_make_it_up(monkeypatch):
    monkeypatch.setattr(SearchDistillation, "build", lambda settings, lineage: STAGE)
    monkeypatch.setattr(bench_train, "REPEATS", 1)
    monkeypatch.setattr(bench_train, "peak_flops", lambda mesh, dtype: (1e9, f"of {dtype}"))
    result = bench_train.bench_train(CONFIG)
    assert (result["stage"], result["batch_size"], result["devices"]) == ("distilled", ROWS, 1)
    seconds = result["seconds_per_step"]
    assert result["tokens_per_second"] * seconds == pytest.approx(ROWS * 6.5)
    assert result["simulations_per_second"] * seconds == pytest.approx(ROWS * 3 * 3)
    assert result["flops_per_second"] * seconds == pytest.approx(4e6)
    assert (result["mfu"], result["peak"]) == (result["flops_per_second"] / 1e9, "of float32")
    shares = [result[f"{name}_share"] for name in ("search", "update", "host")]
    assert sum(shares) == pytest.approx(1.0) and all(share < 1.0 for share in shares)


def test_a_config_whose_stages_do_not_search_is_refused():
    with pytest.raises(ValueError, match="config 'tiny' has no stage that searches"):
        bench_train.bench_train(with_stages(CONFIG, "base"))


def test_every_stage_that_searches_counts_its_trees():
    tree = TreeDistillation(teaching=CONFIG.stages[1].teaching)
    several = (
        tiny_experiment(),
        dataclasses.replace(CONFIG, stages=(CONFIG.stages[0], tree)),
        tiny_board_experiment(),
    )
    counted = []
    for config in several:
        stage = bench_train.searching_stage(config)
        counted.append((stage.name, stage.searches(Lineage(config))))
    board = several[2].stages[0]
    games = board.num_games * (board.moves_per_step + board.reanalysed)
    assert counted == [("distilled", 3 * ROWS), ("distilled", ROWS), (board.name, games)]

"""Throughput of self-play, measured against the loop of the example that ships with pgx.

The network, the simulations, the batch and the device are those of the config for both; what the
example does is in `example_loop`.
"""

import time
from typing import Any

import jax
import numpy as np

from rlsearch.benchmarks.example_loop import MOVES, example_game, example_self_play
from rlsearch.config import Experiment
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.stage import Weights
from rlsearch.stages.self_play import playing_stage
from rlsearch.training.state import run_key

REPEATS = 3  # timings of each loop; they alternate, and medians are compared


def bench_self_play(config: Experiment) -> dict[str, Any]:
    """Positions a second that reach a target, without learning: ours, the example's, the ratio.

    Raises:
        ValueError: if the game is not one of pgx for two players.
    """
    settings = playing_stage(config)
    stage, model, mesh = settings.build(None), settings.network, make_mesh(config.parallel)
    params = jax.jit(model.init)(run_key(config.seed, "parameters", 0))
    simulations = settings.search.num_simulations
    batch, moves = settings.num_games, settings.moves_per_step
    collect = jax.jit(stage.produce, donate_argnums=1)
    keys = row_keys(run_key(config.seed, "training", 0), batch)
    memory = jax.jit(stage.memory)(Weights(params), keys)
    example = example_self_play(example_game(settings.environment), model, simulations, batch)
    turns = -(-MOVES // moves)

    def ours() -> int:
        nonlocal memory
        for _ in range(turns):
            memory, _ = collect(Weights(params), memory, keys, None)
        jax.block_until_ready(memory)
        return turns * moves * batch

    def theirs() -> int:
        samples = jax.block_until_ready(example(params, run_key(config.seed, "evaluation", 0)))
        return int(samples.useful.sum())

    loops, seconds = (ours, theirs), ([], [])
    useful = [loop() for loop in loops]  # compiles
    for _ in range(REPEATS):
        for loop, times in zip(loops, seconds, strict=True):
            began = time.perf_counter()
            loop()
            times.append(time.perf_counter() - began)
    rates = [n / float(np.median(times)) for n, times in zip(useful, seconds, strict=True)]
    return {
        "config": config.name,
        "device": jax.devices()[0].device_kind,
        "devices": mesh.devices.size,
        "batch_size": batch,
        "num_simulations": simulations,
        "parameters": model.num_params(),
        "positions_per_second": rates[0],
        "simulations_per_second": rates[0] * simulations,
        "example_positions_per_second": rates[1],
        "example_useful_share": useful[1] / (MOVES * batch),
        "speedup": rates[0] / rates[1],
    }

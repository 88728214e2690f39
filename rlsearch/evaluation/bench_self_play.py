"""Throughput of self-play, measured against the loop of the example that ships with pgx.

The example (`examples/alphazero/train.py` of pgx 2.6) no longer runs on today's JAX as it stands:
it needs `device_put_replicated`, Haiku and weights from the web. What it does is written out here:
every iteration begins new games and plays 256 moves in each place, restarting games that are over,
the observation in every node of the tree; games still open at the end give no value target. The
network, the simulations, the batch and the device are those of the config for both.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pgx
from pgx.experimental import auto_reset

from rlsearch.config import SelfPlayExperiment
from rlsearch.networks.board_model import BoardModel
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.training.self_play import self_play_stage
from rlsearch.training.setup import make_board
from rlsearch.training.state import run_key

EXAMPLE_MOVES = 256  # of an iteration of the example
REPEATS = 3  # timings of each loop; they alternate, and medians are compared


def example_self_play(game: Any, model: BoardModel, simulations: int, batch: int) -> Callable:
    """`(params, key) -> [256, B]` bool: one iteration, and which positions get a value target."""
    recurrent_output: Any = mctx.RecurrentFnOutput
    root_output: Any = mctx.RootFnOutput

    def recurrent_fn(params: Any, key: Any, action: Any, state: Any):
        mover = state.current_player
        state = jax.vmap(game.step)(state, action, jax.random.split(key, batch))
        logits, value = model.evaluate(params, state.observation)
        logits = jnp.where(state.legal_action_mask, logits, jnp.finfo(logits.dtype).min)
        output = recurrent_output(
            reward=state.rewards[jnp.arange(batch), mover],
            discount=jnp.where(state.terminated, 0.0, -1.0),
            prior_logits=logits,
            value=jnp.where(state.terminated, 0.0, value),
        )
        return output, state

    def iteration(params: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        start_key, moves_key = jax.random.split(key)

        def move(state: Any, key: jax.Array):
            search_key, step_key = jax.random.split(key)
            logits, value = model.evaluate(params, state.observation)
            policy = mctx.gumbel_muzero_policy(
                params=params,
                rng_key=search_key,
                root=root_output(prior_logits=logits, value=value, embedding=state),
                recurrent_fn=recurrent_fn,
                num_simulations=simulations,
                invalid_actions=~state.legal_action_mask,
                qtransform=mctx.qtransform_completed_by_mix_value,
            )
            mover, seen = state.current_player, state.observation
            step_keys = jax.random.split(step_key, batch)
            state = jax.vmap(auto_reset(game.step, game.init))(state, policy.action, step_keys)
            reward = state.rewards[jnp.arange(batch), mover]
            return state, (seen, policy.action_weights, reward, state.terminated)

        state = jax.vmap(game.init)(jax.random.split(start_key, batch))
        keys = jax.random.split(moves_key, EXAMPLE_MOVES)
        _, data = jax.lax.scan(move, state, keys)
        ended_later = jnp.cumsum(data[3][::-1], axis=0)[::-1] >= 1
        return ended_later, data

    return jax.jit(iteration)


def bench_self_play(config: SelfPlayExperiment) -> dict[str, Any]:
    """Positions a second that reach a target, without learning: ours, the example's, the ratio.

    Raises:
        ValueError: if the game is not one of pgx for two players.
    """
    environment, model = make_board(config)
    stage, mesh = self_play_stage(config, environment, model), make_mesh(config.parallel)
    game: Any = pgx.make(config.environment.game)  # pyright: ignore[reportArgumentType]
    if game.num_players != 2:
        raise ValueError(
            f"environment.game is {config.environment.game!r}: the example plays for two players"
        )
    params = jax.jit(model.init)(run_key(config.seed, "parameters", 0))
    settings, simulations = config.self_play, config.search.num_simulations
    batch, moves = settings.num_games, settings.moves_per_step
    collect = jax.jit(stage.collect, donate_argnums=1)
    keys = row_keys(run_key(config.seed, "training", 0), batch)
    memory = jax.jit(stage.memory)(params, keys)
    example = example_self_play(game, model, simulations, batch)
    turns = -(-EXAMPLE_MOVES // moves)

    def ours() -> int:
        nonlocal memory
        for _ in range(turns):
            memory, _ = collect(params, memory, keys)
        jax.block_until_ready(memory)
        return turns * moves * batch

    def theirs() -> int:
        useful, data = example(params, run_key(config.seed, "evaluation", 0))
        jax.block_until_ready(data)
        return int(useful.sum())

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
        "example_useful_share": useful[1] / (EXAMPLE_MOVES * batch),
        "speedup": rates[0] / rates[1],
    }

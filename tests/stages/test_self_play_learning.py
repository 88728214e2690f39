import functools

import jax
import pytest

from rlsearch.arena.perfect_play import choose_moves, make_chooser
from rlsearch.arena.solved_positions import solve_game
from rlsearch.config import OptimizerConfig, ParallelConfig, SearchConfig, TowerConfig
from rlsearch.environments.pgx_game import PgxGame
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.stage import Weights
from rlsearch.stages.self_play import SelfPlay
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import init_state, run_key
from rlsearch.training.step import make_step
from tests.boards import NegatedGame, pgx_game

NUM_STEPS = 16
CHANCE = 0.40  # what a random move keeps where it matters


def settings(policy: str, environment: PgxGame) -> SelfPlay:
    return SelfPlay(
        environment=environment,
        model=TowerConfig(num_blocks=1, channels=16, value_dim=16),
        search=SearchConfig(
            policy=policy,
            actions="moves",
            num_simulations=8,
            num_candidates=9,
            value_scale=0.5,
            dirichlet_fraction=0.25,
        ),
        num_steps=NUM_STEPS,
        num_games=32,
        moves_per_step=4,
        replay_moves=16,
        updates_per_step=4,
        batch_size=128,
        random_opening=6,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
    )


@functools.cache
def trainer(policy: str, negated: bool):
    """A function from a seed to the share of values kept before and after training."""
    game = pgx_game("tic_tac_toe")
    config = settings(policy, NegatedGame(game="tic_tac_toe") if negated else game)
    model, stage = config.network, config.build(None)
    optimizer = make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)
    step = make_step(stage, optimizer, make_mesh(ParallelConfig(data=1)))
    init = jax.jit(lambda params, key: init_state(Weights(params), optimizer, stage, key))

    def kept(params) -> float:
        positions = all_positions()
        moves = choose_moves(make_chooser(game, model, None), params, positions.states, 0)
        return float(positions.keeps_value(moves)[positions.matters].mean())

    def learn(seed: int) -> tuple[float, float]:
        params = jax.jit(model.init)(run_key(seed, "parameters", 0))
        before = kept(params)
        state = init(params, run_key(seed, "memory", 0))
        for number in range(NUM_STEPS):
            state, metrics = step(state, run_key(seed, "training", number))
            jax.block_until_ready(metrics)
        return before, kept(state.params)

    return learn


@functools.cache
def all_positions():
    return solve_game(pgx_game("tic_tac_toe")).positions


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("policy", ["gumbel", pytest.param("puct", marks=pytest.mark.slow)])
def test_self_play_learns_to_keep_the_value(policy, seed):
    before, after = trainer(policy, negated=False)(seed)
    assert before < CHANCE + 0.1
    assert after > CHANCE + 0.18


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["gumbel", "puct"])
def test_with_the_reward_inverted_it_learns_to_lose(policy):
    before, after = trainer(policy, negated=True)(0)
    assert after < before
    assert after < CHANCE - 0.08

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from rlsearch.decoding.steps import sample_solutions
from rlsearch.objectives.search_distillation import search_targets
from rlsearch.training.language import rows_stage

from rlsearch.config import DistillConfig, OptimizerConfig, ParallelConfig, SearchConfig
from rlsearch.networks.language_model import LanguageModel
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.stage import StageFlops
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import init_state, run_key
from rlsearch.training.step import make_step
from tests.toy import PAD, InvertedToyTask, ToyTask, toy_form, toy_model

NUM_STEPS, PROBLEMS = 100, 32
CHANCE = 1 / 9  # three of 27 words are right


def learn(task, policy) -> tuple[float, float]:
    """Success of samples before and after distilling a search whose checker is `task`'s."""
    search = SearchConfig(policy=policy, num_simulations=12, num_candidates=3)
    config = DistillConfig(num_problems=PROBLEMS, num_targets=3, critic_samples=0, traces=0)
    # One layer is enough to copy letters.
    layer = dataclasses.replace(toy_model()[0].config, num_layers=1)
    model, form = LanguageModel(layer, ToyTask.vocab_size), toy_form()
    params = jax.jit(model.init)(run_key(0, "parameters", 0))
    stage = rows_stage(
        model,
        PAD,
        name="distilled",
        start=None,
        num_steps=NUM_STEPS,
        num_keys=PROBLEMS,
        produce=lambda params, keys: search_targets(
            params, keys, task, model, form, search, config, contrast=0.4
        ),
        replay_size=8 * PROBLEMS,
        updates_per_step=4,
        batch_size=4 * PROBLEMS,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
        flops=StageFlops(0.0, 0.0),
    )
    optimizer = make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)
    step = make_step(stage, optimizer, make_mesh(ParallelConfig(data=1)))

    @jax.jit
    def success(params):
        prompts = jnp.tile(jnp.array(ToyTask.PROBLEMS[:-1], jnp.int32), (100, 1))
        keys = row_keys(run_key(0, "evaluation", 0), len(prompts))
        prefix, _ = sample_solutions(model, params, prompts, keys, form)
        return ToyTask().check_tokens(prompts, prefix.tokens).mean()

    before = success(params)
    state = jax.jit(lambda params: init_state(params, optimizer, stage, run_key(0, "memory", 0)))(
        params
    )
    for number in range(NUM_STEPS):
        state, metrics = step(state, run_key(0, "training", number))
        jax.block_until_ready(metrics)
    return float(before), float(success(state.params))


@pytest.mark.parametrize("policy", ["gumbel", "puct"])
def test_distilling_search_solves_the_toy_task(policy):
    before, after = learn(ToyTask(), policy)
    assert before < 2 * CHANCE
    assert after > 0.9


@pytest.mark.parametrize("policy", ["gumbel", pytest.param("puct", marks=pytest.mark.slow)])
def test_with_the_reward_inverted_it_stays_at_chance(policy):
    before, after = learn(InvertedToyTask(), policy)
    assert after < before

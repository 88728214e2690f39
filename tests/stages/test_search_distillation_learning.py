import dataclasses

import jax
import jax.numpy as jnp
import pytest

from rlsearch.config import Experiment, OptimizerConfig, ParallelConfig, SearchConfig
from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import make_mesh, row_keys
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.stage import Weights
from rlsearch.stages.search_distillation import SearchDistillation
from rlsearch.stages.teaching import Teaching
from rlsearch.stages.tree_distillation import TreeDistillation
from rlsearch.training.optimizer import make_optimizer
from rlsearch.training.state import init_state, run_key
from rlsearch.training.step import make_step
from tests.toy import InvertedToyTask, ToyTask, toy_model

NUM_STEPS, PROBLEMS = 50, 32
CHANCE = 1 / 9  # three of 27 words are right


def learn(task, searching) -> tuple[float, float]:
    """Success of samples before and after distilling a search whose checker is `task`'s."""
    search = SearchConfig(policy=searching, num_simulations=12, num_candidates=3, tilt=3.0)
    if searching == "draw":
        search = dataclasses.replace(search, trust=0.0)
    teaching = Teaching(
        num_problems=PROBLEMS,
        critic_samples=0,
        traces=0,
        replay_size=8 * PROBLEMS,
        updates_per_step=4,
        batch_size=4 * PROBLEMS,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=10),
    )
    given = {"start": "", "num_steps": NUM_STEPS, "search": search, "teaching": teaching}
    if searching == "draw":
        config = TreeDistillation(**given, num_targets=3)
    else:
        config = SearchDistillation(**given, num_targets=3)
    # One layer is enough to copy letters.
    layer = dataclasses.replace(toy_model()[0].config, num_layers=1)
    lineage = Lineage(Experiment(task=task, model=layer, stages=(config,)))
    policy, stage = lineage.policy(config.name), config.build(lineage)
    params = jax.jit(stage.model.init)(run_key(0, "parameters", 0))
    optimizer = make_optimizer(stage.optimizer, stage.num_steps * stage.updates_per_step)
    step = make_step(stage, optimizer, make_mesh(ParallelConfig(data=1)))

    @jax.jit
    def success(params):
        prompts = jnp.tile(jnp.array(ToyTask.PROBLEMS[:-1], jnp.int32), (100, 1))
        keys = row_keys(run_key(0, "evaluation", 0), len(prompts))
        draft, _ = Writer(policy, params).sample(prompts, keys)
        return ToyTask().check_tokens(prompts, draft.line.tokens).mean()

    before = success(params)
    key = run_key(0, "memory", 0)
    init = jax.jit(lambda params: init_state(Weights(params), optimizer, stage, key))
    state = init(params)
    for number in range(NUM_STEPS):
        state, metrics = step(state, run_key(0, "training", number))
        jax.block_until_ready(metrics)
    return float(before), float(success(state.params))


@pytest.mark.parametrize("policy", ["gumbel", "puct", "draw"])
def test_distilling_search_solves_the_toy_task(policy):
    before, after = learn(ToyTask(), policy)
    assert before < 2 * CHANCE
    assert after > 0.9


@pytest.mark.parametrize("policy", ["gumbel", "draw", pytest.param("puct", marks=pytest.mark.slow)])
def test_with_the_reward_inverted_it_stays_at_chance(policy):
    before, after = learn(InvertedToyTask(), policy)
    assert after < before

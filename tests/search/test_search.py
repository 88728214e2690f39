import dataclasses
import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from rlsearch.config import ParallelConfig, SearchConfig
from rlsearch.decoding.writer import Writer
from rlsearch.parallel.mesh import make_mesh, over_data, row_keys
from rlsearch.search import mcts
from rlsearch.search.search import search
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import A, B, C, judge_for, toy_model, toy_policy

ROWS = 8
PROMPTS = jnp.tile(jnp.array([[2, 3, 1], [4, 4, 1]], jnp.int32), (ROWS // 2, 1))
WIDE = SearchConfig(num_simulations=200, num_candidates=5)


@functools.cache
def run(config, *right, devices=1):
    """The search from `PROMPTS` where the words `right` are; without any the critic judges."""
    critic = Checker(judge_for(*right)) if right else ValueHead()

    def one(writer, prompts, keys):
        draft = writer.start(prompts)
        return search(writer, critic, draft, Memory(), keys, config)

    mesh = make_mesh(ParallelConfig(data=devices))
    writer = Writer(toy_policy(), toy_model()[1])
    return jax.jit(over_data(mesh, one))(writer, PROMPTS, row_keys(jax.random.key(0), ROWS))


@pytest.mark.parametrize("policy", ["gumbel", "puct"])
@pytest.mark.parametrize("actions", ["steps", "top_tokens", "tokens"])
def test_the_one_right_solution_is_found_by_either_policy(policy, actions):
    config = dataclasses.replace(WIDE, policy=policy, actions=actions, value_scale=0.5)
    result = run(config, (B, C, A))
    best = np.take_along_axis(
        np.asarray(result.candidates.tokens[:, :, 0]),
        np.argmax(np.asarray(result.improved_policy), axis=1)[:, None],
        axis=1,
    )
    assert (best[:, 0] == B).all()
    assert result.solved.any(axis=1).all()
    leads = np.asarray(result.candidates.tokens[:, :, 0]) == B
    np.testing.assert_array_equal(np.asarray(result.solved), leads & np.asarray(result.solved))


@pytest.mark.parametrize("policy", ["gumbel", "puct"])
def test_nothing_right_gives_nothing_solved(policy):
    result = run(dataclasses.replace(WIDE, policy=policy), (9, 9, 9))
    assert not result.solved.any()


def test_candidates_are_distinct_steps_and_the_policy_sums_to_one():
    result = run(WIDE, (A, A, A))
    for row in range(ROWS):
        live = np.asarray(result.improved_policy[row]) > 0
        letters = np.asarray(result.candidates.tokens[row, :, 0])[live]
        assert sorted(letters) == sorted(set(letters)) and len(letters) == 3
    np.testing.assert_allclose(result.improved_policy.sum(axis=1), 1.0, rtol=1e-6)


def test_a_finished_node_is_worth_its_outcome_and_nothing_lies_behind_it():
    result = run(WIDE, (A, A, A), (B, B, C))
    tree: mctx.Tree = result.grown.tree
    tokens = np.asarray(tree.embeddings.line.tokens)
    ended = np.asarray(tree.embeddings.line.num_steps) == 3
    parents, actions = np.asarray(tree.parents), np.asarray(tree.action_from_parent)
    right = np.asarray(judge_for((A, A, A), (B, B, C))(None, tokens.reshape(-1, 6)))
    right = right.reshape(ended.shape)
    seen = 0
    for row, node in zip(*np.nonzero(ended), strict=True):
        parent, action = parents[row, node], actions[row, node]
        if parent < 0:
            continue
        reward = tree.children_rewards[row, parent, action]
        first_time = not ended[row, parent] and not tree.embeddings.step.duplicate[row, node]
        assert reward == (right[row, node] if first_time else 0.0)
        assert tree.children_discounts[row, parent, action] == 0.0
        seen += bool(first_time and right[row, node])
    assert seen


def test_without_a_checker_the_critic_values_what_is_finished():
    result = run(WIDE)
    tree = result.grown.tree
    ended = np.asarray(tree.embeddings.line.num_steps) == 3
    rows, nodes = np.nonzero(ended & ~np.asarray(tree.embeddings.step.duplicate))
    parent, action = np.asarray(tree.parents)[rows, nodes], np.asarray(tree.action_from_parent)
    was_open = ~ended[rows, parent]
    rewards = np.asarray(tree.children_rewards)[rows, parent, action[rows, nodes]]
    values = np.asarray(tree.raw_values)[rows, nodes]
    np.testing.assert_allclose(rewards[was_open], values[was_open], atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "actions", "splits"),
    [
        ("gumbel", "steps", (2, 8)),
        ("puct", "steps", (8,)),
        ("gumbel", "tokens", (8,)),
        ("puct", "tokens", (2,)),
    ],
)
def test_the_search_does_not_depend_on_how_roots_are_split(policy, actions, splits):
    config = SearchConfig(policy=policy, actions=actions, num_simulations=12, num_candidates=4)
    whole = run(config, (A, B, C))
    for devices in splits:
        split = run(config, (A, B, C), devices=devices)
        np.testing.assert_array_equal(whole.line.tokens, split.line.tokens)
        np.testing.assert_array_equal(whole.visit_counts, split.visit_counts)
        np.testing.assert_allclose(whole.improved_policy, split.improved_policy, atol=1e-5)


def test_bfloat16_at_the_boundary_is_refused():
    root = mctx.RootFnOutput(
        prior_logits=jnp.zeros((1, 2), jnp.bfloat16), value=jnp.zeros(1), embedding=jnp.zeros(1)
    )
    with pytest.raises(TypeError, match="float32"):
        mcts.run(root, lambda *a: a, row_keys(jax.random.key(0), 1), WIDE)


def test_dirichlet_noise_falls_on_legal_actions_alone():
    config = SearchConfig(policy="puct", dirichlet_fraction=0.25)
    forbidden = jnp.array([[False, False, True, True]])
    noisy = mcts.with_dirichlet_noise(
        jnp.zeros((1, 4)), row_keys(jax.random.key(0), 1), forbidden, config
    )
    prior = np.exp(noisy[0])
    np.testing.assert_allclose(prior[:2].sum(), 1.0, atol=1e-5)
    np.testing.assert_allclose(prior[2:], 0.0, atol=1e-6)


def test_the_best_below_a_node_is_told_to_all_above_it():
    tree = run(WIDE, (A, A, A)).grown.tree
    value = jax.random.uniform(jax.random.key(0), tree.parents.shape)
    best = np.asarray(mcts.best_below(tree, value, WIDE.num_simulations))
    expected = np.asarray(value).copy()
    parents = np.asarray(tree.parents)
    for row in range(ROWS):
        for node in range(parents.shape[1] - 1, 0, -1):
            above = parents[row, node]
            if above >= 0:
                expected[row, above] = max(expected[row, above], expected[row, node])
    np.testing.assert_array_equal(best, expected)

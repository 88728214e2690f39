"""Rows of the leaves of trees: every target is held against the tree that it was read from."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import SearchConfig
from rlsearch.objectives.leaf_targets import leaf_targets
from rlsearch.parallel.mesh import row_keys
from rlsearch.search.search import search
from rlsearch.search.summary import first_finished, outcomes
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker
from tests.toy import PAD, A, B, C, judge_for, solution, toy_writer

RIGHT = ((A, B, C), (A, B, A), (B, B, B))
LEAVES = 5
CONFIG = SearchConfig(policy="draw", num_simulations=24, num_candidates=4, min_p=0.0, tilt=0.0)


@functools.cache
def taught(config=CONFIG):
    writer, rows = toy_writer(0.4), 64
    prompts = jnp.tile(jnp.array([[A, B, 1]], jnp.int32), (rows, 1))

    @jax.jit
    def one(writer, keys):
        first, critic = writer.start(prompts), Checker(judge_for(*RIGHT))
        tree = search(writer, critic, first, Memory(), keys, config).grown.tree
        found, right = leaf_targets(writer, prompts, tree, LEAVES)
        format = writer.format
        return found, right, tree, first_finished(tree, format), outcomes(tree, format)

    return jax.tree.map(np.asarray, one(writer, row_keys(jax.random.key(0), rows)))


def letters(row, problem):
    return tuple(int(x) for x in row.steps[problem, :, 0, 0] if x != PAD)


@functools.cache
def probability(word):
    """The policy's, of a whole word."""
    writer, total = toy_writer(0.4), 0.0
    draft = writer.start(jnp.array([[A, B, 1]], jnp.int32))
    for token in solution(word):
        total += float(writer.next_token_log_probs(draft)[0, token])
        draft = writer.append_token(draft, jnp.array([token]))
    return np.exp(total)


def test_right_leaves_come_first_each_with_its_share():
    rows, right, _, done, outcome = taught()
    np.testing.assert_array_equal(right, ((outcome == 1) & done).sum(axis=1))
    assert len(set(right.tolist())) > 1
    for problem, number in enumerate(right):
        words = [letters(row, problem) for row in rows]
        assert [word in RIGHT for word in words] == [place < number for place in range(LEAVES)]
        assert len(set(words)) == LEAVES  # no leaf twice
        total = sum(probability(word) for word in words[:number])
        for word, row in zip(words, rows, strict=True):
            share = probability(word) / total if word in RIGHT else 0.0
            np.testing.assert_allclose(row.weights[problem], share, rtol=1e-4)


def test_values_are_the_means_of_the_leaves_below():
    rows, _, tree, done, outcome = taught()
    tokens = tree.embeddings.line.tokens
    for problem in range(16):
        leaves = tokens[problem][done[problem]][:, ::2]
        found = outcome[problem][done[problem]]
        for row in rows:
            word = letters(row, problem)
            for step in range(3):
                below = (leaves[:, : step + 1] == word[: step + 1]).all(axis=1)
                value = row.values[problem, step, 0]
                np.testing.assert_allclose(value, found[below].mean(), atol=1e-6)
                count = below.sum()
                weight = 1.0 if step == 2 else count / (count + 1)
                np.testing.assert_allclose(row.value_weights[problem, step, 0], weight, rtol=1e-6)
        whole = rows[0].prompt_values[problem]
        np.testing.assert_allclose(whole, found.mean(), atol=1e-6)
        assert rows[0].prompt_value_weights[problem] > 0.5
        assert not rows[1].prompt_value_weights[problem]


def test_a_tree_with_few_leaves_teaches_no_more():
    rows, _, _, done, _ = taught(dataclasses.replace(CONFIG, max_tokens=12))
    for problem in range(64):
        number = done[problem].sum()
        assert number < LEAVES
        for place, row in enumerate(rows):
            weighs = row.weights[problem].any() or row.value_weights[problem].any()
            assert weighs == (place < number)

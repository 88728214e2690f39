"""Rows of paths down trees: every target is held against the tree that it was read from."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlsearch.config import SearchConfig
from rlsearch.objectives.path_targets import path_targets
from rlsearch.parallel.mesh import row_keys
from rlsearch.search.search import search
from rlsearch.search.summary import first_finished, outcomes
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker
from tests.toy import PAD, A, B, C, judge_for, solution, toy_writer

RIGHT = ((A, B, C), (A, B, A), (B, B, B))
ROWS, CANDIDATES = 64, 3
CONFIG = SearchConfig(
    policy="draw", trust=0.0, num_simulations=24, num_candidates=4, min_p=0.0, tilt=0.0
)


@functools.cache
def taught(config=CONFIG, right=RIGHT, likelihood=0.0):
    writer = toy_writer(0.4)
    prompts = jnp.tile(jnp.array([[A, B, 1]], jnp.int32), (ROWS, 1))

    @jax.jit
    def one(writer, keys):
        first, critic = writer.start(prompts), Checker(judge_for(*right))
        tree = search(writer, critic, first, Memory(), keys, config).grown.tree
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
        row, number = path_targets(writer, prompts, tree, own, CANDIDATES, likelihood)
        believed = writer.policy.model.value(writer.params, tree.embeddings.line.hidden)
        done = first_finished(tree, writer.format)
        return (
            row,
            number,
            tree.embeddings.line.tokens,
            done,
            outcomes(tree, writer.format),
            believed,
        )

    return jax.tree.map(np.asarray, one(writer, row_keys(jax.random.key(0), ROWS)))


@functools.cache
def leaves(problem, config=CONFIG, right=RIGHT):
    """The words that a tree finished, with what came out of them and the critic's word."""
    _, _, tokens, done, outcome, believed = taught(config, right)
    ends = done[problem]
    words = [tuple(int(x) for x in line[::2]) for line in tokens[problem][ends]]
    return list(zip(words, outcome[problem][ends], believed[problem][ends], strict=True))


def letters(row, problem, candidate=0):
    return tuple(int(x) for x in row.steps[problem, :, candidate, 0] if x != PAD)


@functools.cache
def probability(word):
    """The policy's, of a whole word."""
    writer, total = toy_writer(0.4), 0.0
    draft = writer.start(jnp.array([[A, B, 1]], jnp.int32))
    for token in solution(word):
        total += float(writer.next_token_log_probs(draft)[0, token])
        draft = writer.append_token(draft, jnp.array([token]))
    return np.exp(total)


def goes_to(likelihood):
    """Rows that go to each right word, and how many would if each, or each by its probability."""
    row, number, *_ = taught(likelihood=likelihood)
    seen, even, likely = (dict.fromkeys(RIGHT, 0.0) for _ in range(3))
    for problem in range(ROWS):
        right = [word for word, outcome, _ in leaves(problem) if outcome == 1]
        assert number[problem] == len(right)
        if right:
            assert letters(row, problem) in right
            seen[letters(row, problem)] += 1
        for word in right:
            even[word] += 1 / len(right)
            likely[word] += probability(word) / sum(map(probability, right))
    return seen, even, likely


def test_a_row_goes_to_a_right_leaf_each_as_likely_or_as_it_is_written():
    least = min(RIGHT, key=probability)
    for likelihood in (0.0, 1.0):
        seen, even, likely = goes_to(likelihood)
        wanted = likely if likelihood else even
        for word in RIGHT:
            assert abs(seen[word] - wanted[word]) < 3 * wanted[word] ** 0.5, (seen, wanted)
        assert even[least] > 2 * likely[least]
        assert (seen[least] > 1.5 * likely[least]) == (not likelihood)


def test_the_policy_learns_itself_given_that_it_comes_out_right():
    row, number, *_ = taught()
    for problem in np.flatnonzero(number):
        right = [word for word, outcome, _ in leaves(problem) if outcome == 1]
        word = letters(row, problem)
        for step in range(3):
            mass = {}
            for one in right:
                if one[:step] == word[:step]:
                    mass[one[step]] = mass.get(one[step], 0.0) + probability(one)
            found = row.steps[problem, step, :, 0]
            weights = row.weights[problem, step]
            assert set(mass) <= set(found.tolist())
            for token, weight in zip(found, weights, strict=True):
                share = mass.get(int(token), 0.0) / sum(mass.values())
                np.testing.assert_allclose(weight, share, rtol=1e-3, atol=1e-6)


def test_candidates_differ_and_their_values_say_whether_a_right_solution_was_found_below():
    row, *_ = taught()
    for problem in range(16):
        word, found = letters(row, problem), leaves(problem)
        for step in range(3):
            tokens = [int(x) for x in row.steps[problem, step, :, 0] if x != PAD]
            assert tokens[0] == word[step] and len(set(tokens)) == len(tokens)
            for candidate, token in enumerate(tokens):
                prefix = (*word[:step], token)
                below = [outcome for one, outcome, _ in found if one[: step + 1] == prefix]
                value = row.values[problem, step, candidate]
                assert value == max(below)
                trust = 1.0 if step == 2 or value else len(below) / (len(below) + 1)
                trust *= 1.0 if candidate == 0 else 0.5
                weight = row.value_weights[problem, step, candidate]
                np.testing.assert_allclose(weight, trust, rtol=1e-6)
            beyond = row.value_weights[problem, step, len(tokens) :]
            assert not beyond.any()
        solved = max(outcome for _, outcome, _ in found)
        assert row.prompt_values[problem] == solved
        trust = 1.0 if solved else len(found) / (len(found) + 1)
        np.testing.assert_allclose(row.prompt_value_weights[problem], trust, rtol=1e-6)


def test_where_nothing_is_right_the_row_is_the_wrong_leaf_that_is_believed_most():
    row, number, *_ = taught(right=((9, 9, 9),))
    assert not number.any() and not row.weights.any() and not row.values.any()
    for problem in range(16):
        best = max(leaves(problem, right=((9, 9, 9),)), key=lambda leaf: leaf[2])
        assert letters(row, problem) == best[0]
        assert (row.value_weights[problem, :, 0] > 0).all()


def test_a_narrow_tree_leaves_candidates_empty():
    narrow = dataclasses.replace(CONFIG, num_candidates=2)
    row, *_ = taught(narrow)
    assert (row.steps[:, :, 2] == PAD).all() and not row.value_weights[:, :, 2].any()

"""Strategies draw alike, and choose alike among what they have finished."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import SearchConfig
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import NAMES, Budget, load_strategy
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.drawing import confidence, drawing_as, drawing_of
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.verifiers.base import Stateless
from rlsearch.verifiers.constant import Constant
from tests.toy import ToyTask, ending_writer

DRAWING = [name for name in NAMES if name != "greedy"]
PROMPTS = jnp.array(ToyTask.PROBLEMS, jnp.int32)
KEYS = row_keys(jax.random.key(0), len(PROMPTS))
WRITER = ending_writer()


@jax.tree_util.register_static
class Reader(Stateless):
    """As good as none, and charged ten tokens each time."""

    label, oracle, aggregation = "reader", False, "last"

    def score(self, writer, draft):
        return jnp.full(draft.line.length.shape, 0.5)

    def tokens(self, draft):
        return jnp.full(draft.line.length.shape, 10)


def solve(strategy, judge, solutions):
    budget = Budget(solutions, solutions * WRITER.format.max_length)
    run = jax.jit(lambda *x: strategy.solve(*x, budget))
    return jax.tree.map(np.asarray, run(WRITER, judge, PROMPTS, KEYS))


def log_probs(tokens) -> np.ndarray:
    """Of each of `tokens [B, n, T]`, read one by one."""
    batch, number, length = tokens.shape
    flat = jnp.asarray(tokens).reshape(-1, length)

    @jax.jit
    def read(writer):
        draft = writer.start(jnp.repeat(PROMPTS, number, axis=0))
        total = jnp.zeros(len(flat))
        for place in range(length):
            token, there = flat[:, place], ~writer.finished(draft)
            each = jnp.take_along_axis(writer.next_token_log_probs(draft), token[:, None], 1)
            total += jnp.where(there, each[:, 0], 0.0)
            draft = writer.append_token(draft, token)
        return total

    return np.asarray(read(WRITER)).reshape(batch, number)


def test_all_strategies_draw_and_choose_alike_by_default():
    found = [drawing_of(load_strategy(name)) for name in DRAWING]
    assert found == [{"temperature": 1.0, "min_p": 0.05, "policy_weight": 0.0}] * len(DRAWING)
    assert drawing_of(Greedy()) == {}


@pytest.mark.parametrize("name", DRAWING)
def test_they_are_told_to_draw_otherwise(name):
    asked = {"temperature": 0.5, "min_p": 0.0, "policy_weight": 0.3}
    changed = drawing_as(load_strategy(name), asked)
    assert drawing_of(changed) == asked and type(changed) is type(load_strategy(name))
    settings = changed.settings(WRITER.policy, Budget(64, 64 * WRITER.format.max_length))
    assert settings is not None and asked.items() <= settings.items()
    assert drawing_as(Greedy(), asked) == Greedy()


def test_a_search_keeps_what_is_not_asked_for():
    kept = TreeSearch(search=SearchConfig(value_scale=0.7))
    assert drawing_as(kept, {"min_p": 0.2}).search == SearchConfig(value_scale=0.7, min_p=0.2)


def test_confidence_is_the_score_weighed_by_the_policy():
    scores = jnp.array([0.0, 0.2, 0.9, 1.0, -1.0])
    log_prob = jnp.array([-3.0, -1.0, -5.0, -20.0, -1.0])
    np.testing.assert_array_equal(confidence(scores, log_prob, 0.0), scores)
    found = np.asarray(confidence(scores, log_prob, 0.3))
    weighed = np.array([0.2, 0.9]) * np.exp([-0.3, -1.5])
    np.testing.assert_allclose(found[1:3], weighed / (weighed + [0.8, 0.1]), rtol=1e-5)
    assert found[4] == -1.0 and (found[:4] >= 0).all() and np.isfinite(found).all()
    assert found[3] > found[0]  # a certain one over one that is certainly wrong


@pytest.mark.parametrize(
    "name",
    [
        *("best_of_n", "tree_search"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("mcts_alpha", "mcts_rollout", "bfs_v", "dfs_v")
        ),
    ],
)
def test_without_a_verifier_the_likeliest_solution_is_chosen(name):
    strategy = drawing_as(load_strategy(name), {"policy_weight": 1.0})
    answers = solve(strategy, Constant(), 8)
    finished = answers.all_scores >= 0
    each = np.where(finished, log_probs(answers.all_tokens), -np.inf)
    chosen = log_probs(answers.tokens[:, None])[:, 0]
    some = finished.any(axis=1)
    assert some.any()
    np.testing.assert_allclose(chosen[some], each.max(axis=1)[some], atol=1e-4)


def test_by_the_score_alone_another_solution_is_chosen():
    chosen = [solve(BestOfN(policy_weight=a), Constant(), 8).tokens for a in (0.0, 1.0)]
    assert (chosen[0] != chosen[1]).any()


def test_a_majority_vote_asks_no_verifier_and_pays_for_none():
    paid, free = solve(SelfConsistency(), Reader(), 8), solve(SelfConsistency(), Constant(), 8)
    for one, other in zip(paid, free, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (paid.verifier_tokens == 0).all()

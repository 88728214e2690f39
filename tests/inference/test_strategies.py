import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.decoding.steps import sample_solutions
from rlsearch.inference.base import Budget, Policy, load_strategy
from rlsearch.inference.best_of_n import BestOfN
from rlsearch.inference.greedy import Greedy
from rlsearch.inference.tree_search import TreeSearch
from rlsearch.parallel.mesh import row_keys
from tests.toy import ToyTask, perturbed, toy_form, toy_model

PROMPTS = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (7, 1))
KEYS = row_keys(jax.random.key(0), len(PROMPTS))
MODEL, FRESH = toy_model()
POLICY, PARAMS = Policy(MODEL, toy_form()), perturbed(FRESH, 0.15)
ORACLE = TreeSearch(judge=ToyTask().check_tokens)
STRATEGIES = {"greedy": Greedy(), "best": BestOfN(), "tree": TreeSearch(), "oracle": ORACLE}


def budget_of(solutions: int) -> Budget:
    return Budget(solutions, solutions * POLICY.form.max_length)


@functools.cache
def solve(name, solutions, first=None, last=None):
    strategy, budget, rows = STRATEGIES[name], budget_of(solutions), slice(first, last)
    answers = jax.jit(lambda p, x, k: strategy.solve(POLICY, p, x, k, budget))(
        PARAMS, PROMPTS[rows], KEYS[rows]
    )
    return jax.tree.map(np.asarray, answers)


def is_finished(tokens) -> np.ndarray:
    grammar = np.asarray(POLICY.form.grammar)
    return grammar[np.arange(tokens.shape[-1]), tokens].all(axis=-1)


def test_best_of_1_is_one_sample():
    keys = jax.vmap(jax.random.fold_in, (0, None))(KEYS, 0)
    prefix, _ = jax.jit(lambda params: sample_solutions(MODEL, params, PROMPTS, keys, POLICY.form))(
        PARAMS
    )
    answers = solve("best", 1)
    np.testing.assert_array_equal(answers.tokens, prefix.tokens)
    np.testing.assert_array_equal(answers.policy_tokens, prefix.length)
    np.testing.assert_allclose(answers.score, MODEL.value(PARAMS, prefix.hidden), atol=1e-5)
    assert (answers.generations == 1).all()


def test_best_of_n_answers_with_what_the_critic_values_most():
    answers = solve("best", 4)
    best = answers.all_scores.argmax(axis=1)
    rows = np.arange(len(PROMPTS))
    np.testing.assert_array_equal(answers.tokens, answers.all_tokens[rows, best])
    np.testing.assert_array_equal(answers.score, answers.all_scores[rows, best])
    assert (answers.generations == 4).all()
    assert len(np.unique(best)) > 1 and np.ptp(answers.all_scores) > 0.01


def test_greedy_takes_the_likeliest_tokens_and_spends_one_solution():
    answers = solve("greedy", 1)
    again = solve("greedy", 1, 9, 18)  # the same prompts with other keys
    np.testing.assert_array_equal(answers.tokens[:9], again.tokens)
    assert STRATEGIES["greedy"].settings(POLICY, budget_of(2)) is None


SPENT = [("greedy", 1), ("best", 1), ("best", 4)]
SPENT += [("tree", 1), ("tree", 4), ("tree", 16), ("oracle", 4), ("oracle", 16)]


@pytest.mark.parametrize(("name", "solutions"), SPENT)
def test_no_more_is_spent_than_the_budget(name, solutions):
    answers = solve(name, solutions)
    assert (answers.policy_tokens <= budget_of(solutions).tokens).all()
    assert (answers.policy_tokens >= POLICY.form.max_length).all()
    assert (answers.generations >= 1).all() and (answers.verifier_tokens == 0).all()
    if name == "best":
        assert (answers.policy_tokens == budget_of(solutions).tokens).all()


@pytest.mark.parametrize(("name", "solutions"), SPENT)
def test_what_is_unfinished_never_wins(name, solutions):
    answers = solve(name, solutions)
    assert is_finished(answers.tokens).all()
    listed = answers.all_scores >= 0
    assert is_finished(answers.all_tokens[listed]).all()
    # Where the candidates have a finished solution, the answer is the best of them.
    rows = np.flatnonzero(listed.any(axis=1))
    best = answers.all_scores[rows].argmax(axis=1)
    np.testing.assert_array_equal(answers.tokens[rows], answers.all_tokens[rows, best])
    if name in ("tree", "oracle") and solutions == 16:
        assert len(rows) > 0
        assert not is_finished(answers.all_tokens).all()


def test_a_tree_lists_only_nodes_in_which_a_solution_was_finished():
    """And none below them, which cost nothing and are the same solution again."""
    answers = solve("tree", 16)
    listed = (answers.all_scores >= 0).sum(axis=1)
    np.testing.assert_array_equal(answers.generations, np.maximum(listed, 1))
    assert (listed * POLICY.form.max_step_length < answers.policy_tokens).all()


def right(answers) -> np.ndarray:
    return np.asarray(ToyTask().check_tokens(PROMPTS, jnp.array(answers.tokens)))


@pytest.mark.parametrize("solutions", [4, 16])
def test_the_oracle_bounds_the_critic(solutions):
    oracle, critic = right(solve("oracle", solutions)), right(solve("tree", solutions))
    assert oracle.mean() >= critic.mean()
    if solutions == 16:
        assert oracle.mean() > critic.mean() + 0.2


def test_more_budget_solves_more_with_an_oracle():
    assert right(solve("oracle", 4)).mean() < right(solve("oracle", 16)).mean()


@pytest.mark.parametrize("name", ["greedy", "best", "tree"])
def test_a_problem_does_not_depend_on_its_batch(name):
    solutions = 1 if name == "greedy" else 4
    whole, part = solve(name, solutions), solve(name, solutions, 5, 8)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(one[5:8], other, atol=1e-5)


def test_a_budget_too_small_for_a_search_is_spent_greedily():
    form, strategy = POLICY.form, TreeSearch()
    for tokens in (0, 1, form.max_length, form.max_length + form.max_step_length - 1):
        assert strategy.search_config(POLICY, Budget(1, tokens)) is None
        assert strategy.settings(POLICY, Budget(1, tokens)) == {"max_trees": 0}
    config = strategy.search_config(POLICY, Budget(1, form.max_length + form.max_step_length))
    assert config is not None and config.num_simulations == 1
    np.testing.assert_array_equal(solve("tree", 1).tokens, solve("greedy", 1).tokens)


def test_strategies_are_found_by_name():
    assert isinstance(load_strategy("greedy"), Greedy)
    assert isinstance(load_strategy("best_of_n"), BestOfN)
    assert isinstance(load_strategy("tree_search"), TreeSearch)
    assert isinstance(load_strategy("rlsearch.inference.greedy:Greedy"), Greedy)


@pytest.mark.parametrize(
    "name", ["greed", "rlsearch.inference.greedy:Greed", "", "base", "a:b", ":"]
)
def test_an_unknown_strategy_is_named(name):
    with pytest.raises(ValueError, match=f"strategy is '{name}': it must be greedy, best_of_n"):
        load_strategy(name)

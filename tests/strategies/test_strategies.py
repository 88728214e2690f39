import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.measuring.accuracy import wilson_interval
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import NAMES, Budget, load_strategy, name_of
from rlsearch.strategies.beam_search import BeamSearch
from rlsearch.strategies.best_of_n import BestOfN
from rlsearch.strategies.diverse_search import DiverseSearch
from rlsearch.strategies.greedy import Greedy
from rlsearch.strategies.lookahead_search import LookaheadSearch
from rlsearch.strategies.self_consistency import SelfConsistency
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.strategies.weighted_best_of_n import WeightedBestOfN
from rlsearch.verifiers.base import Free, Stateless
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import PAD, A, C, ToyTask, ending_writer, toy_writer

PROMPTS = jnp.tile(jnp.array(ToyTask.PROBLEMS, jnp.int32), (7, 1))
KEYS = row_keys(jax.random.key(0), len(PROMPTS))


@jax.tree_util.register_static
class Random(Free):
    """Scores that mean nothing: a hash of the solution."""

    label, oracle, aggregation = "random", False, "last"

    def score(self, writer, draft):
        tokens = draft.line.tokens
        places = jnp.arange(1, tokens.shape[1] + 1)
        return (jnp.sin((tokens * places**3).sum(axis=1) * 12.9898) + 1) / 2


@jax.tree_util.register_static
class Broken(Free):
    """The critic, but for one kind of problem, of which it makes no number."""

    label, oracle, aggregation = "broken", False, "last"

    def score(self, writer, draft):
        return jnp.where(draft.prompt.tokens[:, 0] == A, jnp.nan, writer.value(draft))


@jax.tree_util.register_static
class Reader(Stateless):
    """The critic, charged as if it read ten tokens each time."""

    label, oracle, aggregation = "reader", False, "mean"

    def score(self, writer, draft):
        return writer.value(draft)

    def tokens(self, draft):
        return jnp.full(draft.line.length.shape, 10)


WRITER, ENDING = toy_writer(), ending_writer()
POLICY, FORMAT = WRITER.policy, WRITER.format
CRITIC, ORACLE = ValueHead(), Checker.of(ToyTask())
STRATEGIES = {
    "greedy": (Greedy(), CRITIC),
    "best": (BestOfN(), CRITIC),
    "tree": (TreeSearch(), CRITIC),
    "oracle": (TreeSearch(), ORACLE),
    "majority": (SelfConsistency(), CRITIC),
    "weighted": (WeightedBestOfN(), CRITIC),
    "beam": (BeamSearch(), CRITIC),
    "lookahead": (LookaheadSearch(), CRITIC),
    "diverse": (DiverseSearch(), CRITIC),
    "best (oracle)": (BestOfN(), ORACLE),
    "best (none)": (BestOfN(), Constant()),
    "best (random)": (BestOfN(), Random()),
    "best (broken)": (BestOfN(), Broken()),
    "beam (broken)": (BeamSearch(), Broken()),
    "tree (broken)": (TreeSearch(), Broken()),
}


def budget_of(solutions: int) -> Budget:
    return Budget(solutions, solutions * FORMAT.max_length)


@functools.cache
def solve(name, solutions, first=None, last=None):
    (strategy, verifier), budget, rows = STRATEGIES[name], budget_of(solutions), slice(first, last)
    return run(strategy, verifier, budget, rows=rows)


def run(strategy, verifier, budget, writer=WRITER, rows=slice(None)):
    answers = jax.jit(lambda *x: strategy.solve(*x, budget))(
        writer, verifier, PROMPTS[rows], KEYS[rows]
    )
    return jax.tree.map(np.asarray, answers)


def is_finished(tokens) -> np.ndarray:
    grammar = np.asarray(FORMAT.grammar)
    return grammar[np.arange(tokens.shape[-1]), tokens].all(axis=-1)


def test_best_of_1_is_one_sample():
    keys = jax.vmap(jax.random.fold_in, (0, None))(KEYS, 0)
    draft, _ = jax.jit(lambda writer: writer.sample(PROMPTS, keys))(WRITER)
    answers = solve("best", 1)
    np.testing.assert_array_equal(answers.tokens, draft.line.tokens)
    np.testing.assert_array_equal(answers.policy_tokens, draft.line.length)
    np.testing.assert_allclose(answers.score, WRITER.value(draft), atol=1e-5)
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
    assert Greedy().settings(POLICY, budget_of(2)) is None


SAMPLING = ("best", "majority", "weighted", "beam", "diverse")  # spend a budget to the end
SPENT = [("greedy", 1), ("best", 1), *((name, 4) for name in (*SAMPLING, "lookahead"))]
SPENT += [("tree", 1), ("tree", 4), ("tree", 16), ("oracle", 4), ("oracle", 16)]
SPENT += [("beam", 16), ("lookahead", 16), ("diverse", 16), ("best (broken)", 4)]
SPENT += [("beam (broken)", 16), ("tree (broken)", 16)]


@pytest.mark.parametrize(("name", "solutions"), SPENT)
def test_no_more_is_spent_than_the_budget(name, solutions):
    answers = solve(name, solutions)
    assert (answers.policy_tokens <= budget_of(solutions).tokens).all()
    assert (answers.policy_tokens >= FORMAT.max_length).all()
    assert (answers.generations >= 1).all() and (answers.verifier_tokens == 0).all()
    if name in SAMPLING:
        assert (answers.policy_tokens == budget_of(solutions).tokens).all()


@pytest.mark.parametrize(("name", "solutions"), SPENT)
def test_what_is_unfinished_never_wins(name, solutions):
    answers = solve(name, solutions)
    assert is_finished(answers.tokens).all()
    listed = answers.all_scores >= 0
    assert is_finished(answers.all_tokens[listed]).all()
    # Where the candidates have a finished solution, the answer is one of them.
    rows = np.flatnonzero(listed.any(axis=1))
    among = (answers.all_tokens == answers.tokens[:, None]).all(axis=-1) & listed
    assert among[rows].any(axis=1).all()
    if name in ("best", "tree", "oracle"):
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
    assert (listed * FORMAT.max_step_length < answers.policy_tokens).all()


def test_a_perfect_verifier_gives_what_any_sample_solves():
    samples = solve("best", 4)
    tokens = samples.all_tokens.reshape(-1, FORMAT.max_length)
    prompts = jnp.repeat(PROMPTS, 4, axis=0)
    solved = np.asarray(ToyTask().check_tokens(prompts, jnp.array(tokens))).reshape(-1, 4)
    np.testing.assert_array_equal(right(solve("best (oracle)", 4)), solved.any(axis=1))
    assert right(solve("best (oracle)", 4)).mean() > right(samples).mean()


def test_a_constant_verifier_changes_nothing():
    np.testing.assert_array_equal(solve("best (none)", 4).tokens, solve("best", 1).tokens)


def test_a_random_verifier_is_no_better_than_one_sample():
    samples = solve("best", 16).all_tokens.reshape(-1, FORMAT.max_length)
    prompts = jnp.repeat(PROMPTS, 16, axis=0)
    one = np.asarray(ToyTask().check_tokens(prompts, jnp.array(samples))).mean()
    low, high = wilson_interval(right(solve("best (random)", 16)).sum(), len(PROMPTS))
    assert low <= one <= high


def test_scores_that_are_no_numbers_spoil_no_other_problem():
    whole, broken = solve("best", 4), solve("best (broken)", 4)
    assert not np.isnan(broken.score).any() and not np.isnan(broken.all_scores).any()
    hit = np.asarray(PROMPTS[:, 0] == A)
    np.testing.assert_array_equal(broken.tokens[~hit], whole.tokens[~hit])
    assert (broken.all_scores[hit] == 0).all() and (broken.all_scores[~hit] > 0).all()
    np.testing.assert_array_equal(broken.bad_scores, np.where(hit, 4 * 3, 0))
    for name in ("beam (broken)", "tree (broken)"):
        found, sound = solve(name, 16), solve(name.split(" ")[0], 16)
        assert np.isfinite(found.all_scores).all()
        np.testing.assert_array_equal(found.bad_scores > 0, hit)
        np.testing.assert_array_equal(found.tokens[~hit], sound.tokens[~hit])


def test_a_verifier_with_a_network_of_its_own_is_paid_for():
    budget = budget_of(4)
    for strategy, most in ((BestOfN(), 4), (BeamSearch(), 4), (LookaheadSearch(), 4)):
        answers = run(strategy, Reader(), budget)
        # It reads 10 tokens for each of three steps of each draft, and of each look ahead.
        expected = {BestOfN: 4 * 30, BeamSearch: 4 * 30, LookaheadSearch: 2 * 30 + 2 * 20}
        assert (answers.verifier_tokens == expected[type(strategy)]).all()
        assert (answers.generations <= most).all()
    answers = run(TreeSearch(), Reader(), budget)
    steps = (answers.policy_tokens - answers.policy_tokens % 2) // 2
    # And beside the nodes the root of each tree, and the answer in the end.
    most = 10 * (steps + TreeSearch().max_trees(POLICY, budget) + 1)
    assert (answers.verifier_tokens >= 30).all() and (answers.verifier_tokens <= most).all()


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


@pytest.mark.parametrize("name", ["greedy", "best", "tree", "weighted", "beam", "lookahead"])
def test_a_problem_does_not_depend_on_its_batch(name):
    solutions = 1 if name == "greedy" else 4
    whole, part = solve(name, solutions), solve(name, solutions, 5, 8)
    for one, other in zip(whole, part, strict=True):
        one = one[5:8] if np.ndim(one) else one  # what costs nothing is one zero for all
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_budget_too_small_for_a_search_is_spent_greedily():
    strategy = TreeSearch()
    for tokens in (0, 1, FORMAT.max_length, FORMAT.max_length + FORMAT.max_step_length - 1):
        assert strategy.search_config(POLICY, Budget(1, tokens)) is None
        assert strategy.settings(POLICY, Budget(1, tokens)) == {
            "max_trees": 0,
            "policy_weight": 0.0,
        }
    config = strategy.search_config(POLICY, Budget(1, FORMAT.max_length + FORMAT.max_step_length))
    assert config is not None and config.num_simulations == 1
    np.testing.assert_array_equal(solve("tree", 1).tokens, solve("greedy", 1).tokens)


def drafts(strategy, solutions):
    return run(strategy, CRITIC, budget_of(solutions))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BeamSearch(expansions=1), WeightedBestOfN()),
        (DiverseSearch(expansions=8), BeamSearch(expansions=8)),  # M = N leaves one subtree
        (LookaheadSearch(lookahead=0), BeamSearch()),
    ],
)
def test_identities_of_search_against_a_verifier(one, other):
    for x, y in zip(drafts(one, 8), drafts(other, 8), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_the_kept_beams_are_those_with_the_highest_scores():
    found = drafts(
        BeamSearch(expansions=8), 8
    )  # keeps one: all that is finished begins with the same two steps
    assert (found.all_tokens[:, :, :4] == found.all_tokens[:, :1, :4]).all()
    assert not (found.all_tokens[:, :, 4] == found.all_tokens[:, :1, 4]).all()
    first_steps = drafts(BeamSearch(expansions=1), 8)  # the same first steps, none thrown away
    assert not (first_steps.all_tokens[:, :, 0] == first_steps.all_tokens[:, :1, 0]).all()


def test_a_beam_keeps_what_leads_to_the_better_solutions():
    """With the checker at the end of the look ahead, what is kept is what leads there."""
    budget, oracle = budget_of(24), Checker.of(ToyTask())

    def solved(strategy):
        answers = run(strategy, oracle, budget)
        tokens = jnp.array(answers.all_tokens).reshape(-1, FORMAT.max_length)
        prompts = jnp.repeat(PROMPTS, answers.all_tokens.shape[1], axis=0)
        return np.asarray(ToyTask().check_tokens(prompts, tokens)).mean()

    assert solved(BeamSearch(lookahead=2)) > solved(BeamSearch()) + 0.1


def test_groups_of_a_diverse_search_never_meet():
    found = drafts(DiverseSearch(expansions=2), 8)
    groups = found.all_tokens.reshape(len(PROMPTS), 4, 2, -1)
    assert (groups[:, :, :, :4] == groups[:, :, :1, :4]).all()
    kept = groups[:, :, 0, :2]
    assert not (kept == kept[:, :1]).all()


@pytest.mark.parametrize(
    ("strategy", "solutions", "spent"),
    [
        (BeamSearch(), 6, (4, 4)),
        (BeamSearch(), 3, (3, 3)),
        (LookaheadSearch(), 6, (3, 3)),
        (LookaheadSearch(), 64, (32, 4)),
        (DiverseSearch(), 64, (64, 4)),
    ],
)
def test_what_a_budget_buys_is_said(strategy, solutions, spent):
    settings = strategy.settings(POLICY, budget_of(solutions))
    assert (settings["n"], settings["m"]) == spent
    assert LookaheadSearch().settings(POLICY, budget_of(1)) is None


WIDE = BeamSearch(expansions=8)


@pytest.mark.parametrize("strategy", [WeightedBestOfN(), WIDE, LookaheadSearch(), TreeSearch()])
def test_solutions_that_end_early_stay_as_they_are(strategy):
    budget = budget_of(8)
    found = run(strategy, CRITIC, budget, ENDING)
    assert (found.policy_tokens <= budget.tokens).all()
    listed = found.all_scores >= 0
    lengths = (found.all_tokens != PAD).sum(axis=-1)
    assert len(np.unique(lengths[listed])) > 1
    ends = np.take_along_axis(found.all_tokens, np.maximum(lengths - 1, 0)[:, :, None], axis=2)
    assert (ends[:, :, 0][listed] == C).all()
    np.testing.assert_array_equal(found.generations, np.maximum(listed.sum(axis=1), 1))
    if not isinstance(strategy, TreeSearch):  # nothing is spent behind the end of a solution
        assert (found.policy_tokens < budget.tokens).any()
    if strategy is WIDE:
        # A draft that has ended does not go on: none of its copies votes again.
        ended = ~listed.all(axis=1)
        assert ended.any() and (listed[ended].sum(axis=1) == 1).all()


class Mine(Greedy):
    """Somebody's own, of no file of the package."""


def test_strategies_are_found_by_name():
    for name in NAMES:
        strategy = load_strategy(name)
        assert type(strategy).__module__ == f"rlsearch.strategies.{name}"
        assert name_of(strategy) == name
        # A value: what an experiment names is told apart by its fields, and by its class.
        assert strategy == load_strategy(name) and hash(strategy) == hash(load_strategy(name))
        assert [other for other in NAMES if load_strategy(other) == strategy] == [name]
        with pytest.raises(dataclasses.FrozenInstanceError):
            strategy.temperature = 0.5
    assert name_of(Mine()) == f"{__name__}:Mine"
    assert isinstance(load_strategy("rlsearch.strategies.greedy:Greedy"), Greedy)


@pytest.mark.parametrize(
    "name", ["greed", "rlsearch.strategies.greedy:Greed", "", "base", "a:b", ":"]
)
def test_an_unknown_strategy_is_named(name):
    with pytest.raises(
        ValueError, match=f"strategy is '{name}': it must be greedy, self_consistency"
    ):
        load_strategy(name)

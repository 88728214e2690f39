"""The modes of tree search: against brute force on a language of 27 solutions."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import SearchConfig
from rlsearch.networks.language_model import LanguageModel
from rlsearch.parallel.mesh import row_keys
from rlsearch.strategies.base import Budget
from rlsearch.strategies.bfs_v import BfsV
from rlsearch.strategies.dfs_v import DfsV
from rlsearch.strategies.drawing_tree import DrawingTree
from rlsearch.strategies.mcts_alpha import MctsAlpha
from rlsearch.strategies.mcts_rollout import MctsRollout
from rlsearch.strategies.tree_search import TreeSearch
from rlsearch.strategies.tree_vote import TreeVote
from rlsearch.strategies.trees import grow
from rlsearch.strategies.writing import begin
from rlsearch.verifiers.base import Free, Stateless
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.network import NetworkVerifier
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import (
    LETTERS,
    NUM_STEPS,
    PAD,
    A,
    C,
    ToyTask,
    ending_writer,
    perturbed,
    solution,
    toy_writer,
)

PROMPTS = jnp.array(ToyTask.PROBLEMS, jnp.int32)
KEYS = row_keys(jax.random.key(0), len(PROMPTS))
WRITER, ENDING = toy_writer(), ending_writer()
POLICY = WRITER.policy
CRITIC, ORACLE = ValueHead(), Checker.of(ToyTask())
MODES = {
    "alpha": MctsAlpha(),
    "rollout": MctsRollout(),
    "draw": DrawingTree(),
    "bfs": BfsV(),
    "dfs": DfsV(),
}
ALL_LETTERS = {"children": 3, "min_p": 0.0}


def known_value(tokens: np.ndarray) -> np.ndarray:
    """A hash of solutions so far `[..., T]`, from 0 to 1."""
    places = np.arange(1, tokens.shape[-1] + 1)
    return ((tokens * places**3).sum(axis=-1) * 271 % 1009) / 1009


@jax.tree_util.register_static
class Known(Free):
    """Values that Python knows too."""

    label, oracle, aggregation = "known", False, "last"

    def score(self, writer, draft):
        tokens = draft.line.tokens
        places = jnp.arange(1, tokens.shape[1] + 1)
        return ((tokens * places**3).sum(axis=1) * 271 % 1009) / 1009


@jax.tree_util.register_static
class Broken(Free):
    """The critic, but for one kind of problem, of which it makes no number."""

    label, oracle, aggregation = "broken", False, "last"

    def score(self, writer, draft):
        return jnp.where(draft.prompt.tokens[:, 0] == A, jnp.nan, writer.value(draft))


def run(strategy, verifier, budget, writer=WRITER, rows=slice(None)):
    found = jax.jit(lambda *x: strategy.solve(*x, budget))(
        writer, verifier, PROMPTS[rows], KEYS[rows]
    )
    return jax.tree.map(np.asarray, found)


@functools.cache
def solve(name, solutions=8):
    return run(MODES[name], CRITIC, Budget(solutions, 6 * solutions))


def value_of(letters) -> float:
    tokens = solution(letters)
    return float(known_value(np.array(tokens + [PAD] * (6 - len(tokens)))))


def listed(found, row) -> list[tuple[int, ...]]:
    """The letters of the finished solutions of a row, in their order."""
    return [tuple(x[::2]) for x in found.all_tokens[row][found.all_scores[row] >= 0].tolist()]


def test_bfs_keeps_the_best_nodes_of_each_depth():
    budget = Budget(6, 36)
    strategy = BfsV(**ALL_LETTERS)
    assert strategy.settings(POLICY, budget)["k"] == 2
    found, beam = run(strategy, Known(), budget), [()]
    for _ in range(NUM_STEPS):
        children = [(*node, letter) for node in beam for letter in LETTERS]
        beam = sorted(children, key=value_of, reverse=True)[:2]
    for row in range(len(PROMPTS)):
        assert listed(found, row) == beam
        assert tuple(found.tokens[row][::2]) == beam[0]
    assert (found.policy_tokens == 2 * (3 + 6 + 6)).all() and (found.generations == 2).all()
    np.testing.assert_allclose(found.score, value_of(beam[0]), atol=1e-6)


def in_depth_first_order(node=(), threshold=0.0):
    """The finished solutions below a node, each expansion's together."""
    children = [(*node, letter) for letter in LETTERS]
    if len(node) == NUM_STEPS - 1:
        return [set(children)]
    children = sorted(children, key=value_of, reverse=True)
    kept = [child for child in children if value_of(child) >= threshold]
    return list(itertools.chain(*(in_depth_first_order(child, threshold) for child in kept)))


@pytest.mark.parametrize("threshold", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_dfs_goes_down_the_best_child_first_and_prunes(threshold):
    strategy, budget = DfsV(**ALL_LETTERS, prune_below=threshold), Budget(20, 120)
    found, expected = run(strategy, Known(), budget), in_depth_first_order(threshold=threshold)
    assert 0 < len(expected) <= 9 and (len(expected) == 9) == (threshold == 0.0)
    for row in range(len(PROMPTS)):
        order = listed(found, row)
        groups = [set(order[place : place + 3]) for place in range(0, len(order), 3)]
        assert groups == expected
    best = max(itertools.chain(*expected), key=value_of)
    assert (found.tokens == solution(best)).all()
    expansions = len(expected) + len({word[:1] for group in expected for word in group}) + 1
    if threshold == 0.0:
        assert (found.policy_tokens == 2 * 3 * expansions).all()


def test_dfs_stops_where_the_budget_does():
    """Down to the first solutions, and of the next expansion as many as can be paid for."""
    found = run(DfsV(**ALL_LETTERS, prune_below=0.0), Known(), Budget(4, 22))
    expected = in_depth_first_order()
    for row in range(len(PROMPTS)):
        order = listed(found, row)
        assert set(order[:3]) == expected[0] and set(order[3:]) < expected[1]
        assert len(order) == 5
    assert (found.policy_tokens == 22).all()


@pytest.mark.slow
def test_alpha_takes_the_best_step_of_the_improved_policy():
    budget = Budget(8, 48)
    settings = MODES["alpha"].settings(POLICY, budget)
    assert settings.pop("max_solutions") == 1  # eight simulations before each of three steps
    assert settings.pop("policy_weight") == 0.0
    keys = jax.vmap(jax.random.fold_in, (0, None))(KEYS, 0)
    keys = jax.vmap(lambda key: jax.random.split(key, NUM_STEPS)[0])(keys)

    @jax.jit
    def first_tree(writer):
        problems, root, _ = begin(writer, CRITIC, PROMPTS)
        return grow(problems, root, keys, SearchConfig(**settings))[0]

    tree = first_tree(WRITER)
    best = np.asarray(tree.improved_policy).argmax(axis=1)
    steps = np.asarray(tree.candidates.tokens[:, :, 0])
    np.testing.assert_array_equal(solve("alpha").tokens[:, 0], steps[range(len(steps)), best])
    assert np.asarray(tree.candidates.usable).sum(axis=1).min() > 1


def test_rollout_grows_one_tree_whatever_the_budget():
    for solutions in (4, 64, 256):
        settings = MODES["rollout"].settings(POLICY, Budget(solutions, 6 * solutions))
        assert settings["max_tokens"] == 6 * solutions and settings["policy"] == "puct"
        assert settings["num_simulations"] > 3 * solutions  # more than the tokens pay for


def test_a_vote_over_leaves_counts_their_weight_and_not_their_number():
    answers = jnp.array([[7, 7, 7, 3, -1], [7, 3, 3, 3, -1]])
    sure = jnp.array([[0.1, 0.1, 0.1, 0.5, -1.0], [0.5, 0.1, 0.2, 0.3, -1.0]])
    assert TreeVote().choose(answers, sure).tolist() == [3, 3]
    assert DrawingTree().choose(answers, sure).tolist() == [3, 0]
    found = run(TreeVote(), CRITIC, Budget(8, 48))
    words = [tuple(x[::2]) for x in found.tokens.tolist()]
    assert (found.policy_tokens <= 48).all()
    assert all(word in listed(found, row) for row, word in enumerate(words))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "label", "aggregation"],
)
@dataclasses.dataclass(frozen=True)
class Anew(NetworkVerifier):
    """Remembers nothing, and so reads all of a solution at every node."""

    start, read = Stateless.start, Stateless.read  # pyright: ignore


def judges() -> list[NetworkVerifier]:
    network = LanguageModel(dataclasses.replace(POLICY.model.config, num_layers=1), 5)
    own = perturbed(network.init(jax.random.key(1)))
    return [kind(own, network, "judge", "prod") for kind in (NetworkVerifier, Anew)]


@pytest.mark.parametrize("strategy", [TreeSearch(), MODES["alpha"]])
def test_in_a_tree_a_network_of_its_own_reads_every_token_once(strategy):
    along, anew = (run(strategy, judge, Budget(8, 48)) for judge in judges())
    np.testing.assert_array_equal(along.all_tokens, anew.all_tokens)
    np.testing.assert_array_equal(along.tokens, anew.tokens)
    np.testing.assert_allclose(along.all_scores, anew.all_scores, atol=1e-5)
    assert np.ptp(along.all_scores[along.all_scores >= 0]) > 0.01
    # The prompt once, and what the policy has written, none of it by greedy decoding in the end.
    assert (along.all_scores >= 0).any(axis=1).all()
    np.testing.assert_array_equal(along.verifier_tokens, PROMPTS.shape[1] + along.policy_tokens)
    assert (anew.verifier_tokens > 2 * along.verifier_tokens).all()


@pytest.mark.parametrize("strategy", [TreeSearch(), MODES["alpha"]])
def test_a_node_is_worth_all_its_steps_and_not_the_newest_alone(strategy):
    judge = judges()[0]
    found = run(strategy, judge, Budget(8, 48))
    for row, scores in enumerate(found.all_scores):
        there = found.all_tokens[row][scores >= 0]
        prompts = jnp.repeat(PROMPTS[row][None], len(there), axis=0)
        steps = judge.step_scores(prompts, jnp.array(there), POLICY.format)[0]
        np.testing.assert_allclose(scores[scores >= 0], steps.prod(axis=1), atol=1e-5)
    np.testing.assert_allclose(found.score, found.all_scores.max(axis=1), atol=1e-5)


def right(found) -> np.ndarray:
    return np.asarray(ToyTask().check_tokens(PROMPTS, jnp.array(found.tokens)))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [BfsV(**ALL_LETTERS), DfsV(**ALL_LETTERS, prune_below=0.0)])
def test_a_perfect_verifier_finds_what_exists(strategy):
    # Three of 27 words are right: with room for all of them, none is missed.
    found = run(strategy, ORACLE, Budget(30, 180))
    assert right(found).all() and (found.score == 1).all()


@pytest.mark.parametrize(
    "name", ["alpha", "rollout", pytest.param("bfs", marks=pytest.mark.slow), "dfs"]
)
def test_no_mode_overspends_or_answers_with_what_is_unfinished(name):
    found = solve(name)
    assert (found.policy_tokens <= 48).all() and (found.policy_tokens > 6).all()
    assert (found.generations >= 1).all() and (found.verifier_tokens == 0).all()
    assert (found.tokens != PAD).all()
    on_list = found.all_scores >= 0
    assert (found.all_tokens[on_list] != PAD).all()
    for row in np.flatnonzero(on_list.any(axis=1)):
        best = found.all_scores[row].argmax()
        np.testing.assert_array_equal(found.tokens[row], found.all_tokens[row, best])
        np.testing.assert_allclose(found.score[row], found.all_scores[row, best], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_a_budget_for_one_solution_alone_is_spent_greedily(name):
    greedy = [solve(other, 1).tokens for other in MODES]
    found = solve(name, 1)
    assert (found.policy_tokens == 6).all() and (found.tokens != PAD).all()
    if name in ("bfs", "dfs"):  # the others draw it
        np.testing.assert_array_equal(found.tokens, greedy[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_a_problem_does_not_depend_on_its_batch(name):
    part = run(MODES[name], CRITIC, Budget(8, 48), rows=slice(3, 5))
    for one, other in zip(solve(name), part, strict=True):
        one = one[3:5] if np.ndim(one) else one  # what costs nothing is one zero for all
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_scores_that_are_no_numbers_spoil_no_other_problem(name):
    broken = run(MODES[name], Broken(), Budget(8, 48))
    hit = np.asarray(PROMPTS[:, 0] == A)
    np.testing.assert_array_equal(broken.bad_scores > 0, hit)
    assert np.isfinite(broken.all_scores).all() and np.isfinite(broken.score).all()
    assert (broken.tokens != PAD).all()  # where all is pruned, it is finished greedily
    for field in ("tokens", "score", "all_tokens", "all_scores", "generations", "policy_tokens"):
        one, other = getattr(broken, field), getattr(solve(name), field)
        np.testing.assert_array_equal(one[~hit], other[~hit])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_solutions_that_end_early_leave_the_search(name):
    found = run(MODES[name], CRITIC, Budget(8, 48), ENDING)
    assert (found.policy_tokens <= 48).all()
    tokens = found.all_tokens[found.all_scores >= 0]
    lengths = (tokens != PAD).sum(axis=-1)
    assert (tokens[np.arange(len(tokens)), lengths - 1] == C).all()
    if name in ("bfs", "dfs"):
        assert len(np.unique(lengths)) > 1
        for row in range(len(PROMPTS)):  # none is expanded again
            words = found.all_tokens[row][found.all_scores[row] >= 0]
            assert len(np.unique(words, axis=0)) == len(words)

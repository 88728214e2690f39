"""Trees of steps by every rule, on a language of 27 words that can be enumerated."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlsearch.config import ParallelConfig, SearchConfig
from rlsearch.parallel.mesh import make_mesh, over_data, row_keys
from rlsearch.search.growing import LEAST
from rlsearch.search.rules import Family, halved, lagging, puct
from rlsearch.search.search import search
from rlsearch.search.summary import first_finished, regularised
from rlsearch.verifiers.base import Memory
from rlsearch.verifiers.checker import Checker
from rlsearch.verifiers.constant import Constant
from rlsearch.verifiers.value_head import ValueHead
from tests.toy import WORDS, A, B, C, judge_for, solution, toy_policy, toy_writer

DRAW = SearchConfig(
    policy="draw", trust=0.0, num_simulations=48, num_candidates=4, min_p=0.0, tilt=0.0
)
RULES = {
    f"{policy}, trust {trust}": dataclasses.replace(DRAW, policy=policy, trust=trust, tilt=10.0)
    for policy, trust in (("draw", 0.0), ("draw", 0.5), ("puct", 1.0), ("gumbel", 1.0))
}
ALL = pytest.mark.parametrize("config", RULES.values(), ids=RULES.keys())
PROMPT = [A, B, 1]
ROWS, SPREAD = 512, 0.4


@functools.cache
def grown(config=DRAW, right=(), rows=ROWS, devices=1, critic=None):
    """Trees from `rows` copies of one problem, each with a key of its own."""
    critic = critic or (Checker(judge_for(*right)) if right else ValueHead())
    prompts = jnp.tile(jnp.array([PROMPT], jnp.int32), (rows, 1))

    def one(writer, prompts, keys):
        return search(writer, critic, writer.start(prompts), Memory(), keys, config)

    mesh = make_mesh(ParallelConfig(data=devices))
    found = jax.jit(over_data(mesh, one))(
        toy_writer(SPREAD), prompts, row_keys(jax.random.key(3), rows)
    )
    return jax.tree.map(np.asarray, found)


def finished(found):
    """`[B, n]` numbers of the words of each tree, in the order in which they were finished."""
    tree = found.grown.tree
    done = np.asarray(first_finished(tree, toy_policy().format))
    words = {tuple(solution(word)): number for number, word in enumerate(WORDS)}
    return [
        [words[tuple(tokens)] for tokens in lines[ends]]
        for lines, ends in zip(tree.embeddings.line.tokens, done, strict=True)
    ]


@functools.cache
def word_probabilities():
    writer, words = toy_writer(SPREAD), np.array([solution(word) for word in WORDS])
    draft = writer.start(jnp.tile(jnp.array([PROMPT], jnp.int32), (len(words), 1)))
    total = np.zeros(len(words))
    for place in range(words.shape[1]):
        total += np.asarray(writer.next_token_log_probs(draft))[range(len(words)), words[:, place]]
        draft = writer.append_token(draft, jnp.asarray(words[:, place]))
    return np.exp(total)


@ALL
def test_every_word_comes_once_until_none_is_left(config):
    found = grown(config, rows=64)
    whole = word_probabilities()
    assert whole.sum() == pytest.approx(1.0, abs=1e-4)
    for row, words in enumerate(finished(found)):
        assert len(words) == len(set(words)), row
        assert 1 - whole[words].sum() < 4 * LEAST  # of the root and of what is above its leaves
    # No simulation comes back to what is finished: every node is new, and the loop has ended.
    tree = found.grown.tree
    used = (tree.embeddings.step.length > 0).sum(axis=1)
    assert (used < config.num_simulations).all()
    assert (found.grown.tokens == tree.embeddings.step.length.sum(axis=1)).all()


def test_without_a_tilt_it_is_sampling_without_replacement():
    """The first word has the policy's distribution, and the second that of what is left."""
    whole = word_probabilities()
    drawn = finished(grown(rows=4096, config=dataclasses.replace(DRAW, max_tokens=12)))
    assert {len(words) for words in drawn} <= {2, 3}
    first = np.bincount([words[0] for words in drawn], minlength=27)
    second = np.bincount([words[1] for words in drawn], minlength=27)
    expected = len(drawn) * whole
    given = whole[:, None] * whole[None] / (1 - whole)[:, None]
    np.fill_diagonal(given, 0.0)
    for seen, wanted in ((first, expected), (second, len(drawn) * given.sum(axis=0))):
        likely = wanted > 5
        chi = ((seen - wanted)[likely] ** 2 / wanted[likely]).sum()
        degrees = likely.sum() - 1
        assert chi < degrees + 5 * np.sqrt(2 * degrees), chi


@ALL
@pytest.mark.parametrize("width", [2, 4])
def test_with_a_constant_critic_all_is_worth_the_same_and_the_target_is_the_policy(config, width):
    config = dataclasses.replace(config, num_simulations=9, num_candidates=width)
    found = grown(config, critic=Constant())
    np.testing.assert_allclose(found.root_value, 0.5, atol=1e-6)
    usable = found.candidates.usable
    np.testing.assert_allclose(found.action_values[usable], 0.5, atol=1e-6)
    weights, letters = found.improved_policy, found.candidates.tokens[:, :, 0]
    mean = np.array([(weights * (letters == x) * usable).sum(axis=1) for x in (A, B, C)])
    expected = word_probabilities().reshape(3, 9).sum(axis=1)
    # Where a tree goes on by what it drew, its candidates are what a tree counts by.
    number = usable.sum(axis=1) / usable.sum(axis=1).mean()
    off = number * (mean - expected[:, None])
    error = off.std(axis=1) / np.sqrt(ROWS)
    assert (abs(off.mean(axis=1)) < 4 * error + 2 * LEAST).all()


@pytest.mark.parametrize("trust", [0.0, 1.0])
def test_the_target_of_puct_does_not_change_with_the_scale_of_sigma(trust):
    config = dataclasses.replace(DRAW, policy="puct", trust=trust, num_simulations=12)
    one, other = (
        grown(dataclasses.replace(config, value_scale=scale), (WORDS[5],), rows=32)
        for scale in (0.01, 10.0)
    )
    np.testing.assert_array_equal(one.improved_policy, other.improved_policy)
    assert not one.value_scale.any()


def test_what_puct_makes_of_its_values_is_what_its_visits_follow():
    """Against PUCT itself on a bandit whose values are known."""
    prior, values = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 0.6])
    visits, constant = np.zeros(3), 1.25
    for total in range(3000):
        score = values + constant * prior * np.sqrt(max(total, 1)) / (1 + visits)
        visits[np.argmax(score)] += 1
    weight = jnp.array([constant * np.sqrt(visits.sum()) / (3 + visits.sum())])
    policy = regularised(jnp.array([prior]), jnp.array([values]), weight)
    np.testing.assert_allclose(policy[0], visits / visits.sum(), atol=3e-3)
    # Nothing is given to what has no prior, and with equal values the prior stays.
    alike = regularised(jnp.array([[0.7, 0.3, 0.0]]), jnp.full((1, 3), 0.4), weight)
    np.testing.assert_allclose(alike[0], [0.7, 0.3, 0.0], atol=1e-6)


def family(values, visits, left, new=0.0):
    """One node, by hand."""
    values, visits = jnp.array([values]), jnp.array([visits])
    return Family(
        value=(values * visits).sum(axis=1) / jnp.maximum(visits.sum(axis=1), 1),
        raw_value=jnp.array([0.5]),
        values=values,
        visits=visits,
        left=jnp.array([left]),
        new=jnp.array([new]),
        number=(visits > 0).sum(axis=1),
    )


def test_halving_looks_at_each_candidate_once_and_then_at_the_better_half():
    config = SearchConfig(num_candidates=4)
    noise = jnp.zeros((1, 4))

    def chosen(progress, *family_of):
        return int(halved(family(*family_of), noise, jnp.array([progress]), config)[0])

    values, open_ = [0.9, 0.1, 0.8, 0.2], [0.1] * 4
    assert chosen(0.9, values, [1, 1, 1, 0], open_, 0.2) == 4  # a new one comes first
    assert chosen(0.1, values, [2, 1, 2, 2], open_) == 1  # the one that was visited least
    assert chosen(0.6, values, [2, 1, 3, 1], open_) == 0  # of the better half
    assert chosen(0.6, values, [2, 1, 2, 1], [0.0, 0.1, 0.1, 0.1]) == 3  # of those that are open


def test_below_the_root_visits_follow_the_improved_policy_and_puct_explores():
    config = SearchConfig(num_candidates=2, value_scale=0.05)
    even = family([0.6, 0.4], [3, 0], [0.3, 0.3])
    assert int(lagging(even, config)[0]) == 1
    assert int(lagging(family([0.6, 0.4], [3, 6], [0.3, 0.3]), config)[0]) == 0
    assert int(lagging(family([0.6, 0.4], [3, 6], [0.0, 0.3]), config)[0]) == 1
    prior = jnp.full((1, 2), 0.5)
    assert int(puct(family([0.6, 0.4], [1, 1], [0.3, 0.3]), prior, 1.25)[0]) == 0
    assert int(puct(family([0.6, 0.4], [9, 1], [0.3, 0.3]), prior, 1.25)[0]) == 1
    assert int(puct(family([0.6, 0.0], [9, 0], [0.3, 0.0], 0.5), prior, 1.25)[0]) == 2


def test_a_critic_that_is_right_is_followed():
    letters = word_probabilities().reshape(3, 9).sum(axis=1)
    letter = (A, B, C)[np.argsort(letters)[1]]  # neither the likeliest nor hopeless
    right = [word for word in WORDS if word[0] == letter]
    limited = dataclasses.replace(DRAW, max_tokens=24)
    share = {}
    for tilt in (0.0, 10.0):
        words = finished(grown(dataclasses.replace(limited, tilt=tilt), tuple(right)))
        share[tilt] = np.mean([np.mean([WORDS[w][0] == letter for w in row]) for row in words])
    assert share[10.0] > share[0.0] + 0.1, share


def test_one_right_solution_behind_an_unlikely_step_is_found_in_the_end():
    whole = word_probabilities()
    unlikely = np.argmin(np.where(whole > 5e-3, whole, 1.0))
    found = grown(right=(WORDS[unlikely],))
    assert whole[unlikely] < 0.02 and found.solved.any(axis=1).mean() > 0.95


@ALL
def test_tokens_are_never_overspent_and_what_comes_last_is_ended(config):
    for tokens in (6, 13):
        found = grown(dataclasses.replace(config, max_tokens=tokens), rows=64)
        assert (found.grown.tokens <= tokens).all()
        assert all(words for words in finished(found))
        if config.trust == 0.0:
            tree = found.grown.tree
            ended = np.asarray(first_finished(tree, toy_policy().format))
            leaves = (tree.embeddings.step.length > 0) & (tree.children_index < 0).all(axis=2)
            assert (ended == leaves).all()  # no line was left half-written


@ALL
def test_nodes_are_never_overspent(config):
    for nodes in (3, 7):
        found = grown(dataclasses.replace(config, num_simulations=nodes), rows=64)
        used = (found.grown.tree.embeddings.step.length > 0).sum(axis=1)
        assert (used <= nodes).all() and used.min() >= (nodes if config.trust == 1 else 3)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class NoNumbers:
    """A critic that gives no number for what is not finished, and none of some finished words."""

    def read(self, writer, draft, memory):
        value = jnp.where(writer.finished(draft), 1.0, jnp.nan)
        return value, memory, jnp.zeros_like(draft.line.length)


@pytest.mark.parametrize("policy", ["draw", "puct", "gumbel"])
def test_what_is_no_number_on_the_way_spoils_nothing(policy):
    config = dataclasses.replace(DRAW, policy=policy, tilt=10.0)
    found = grown(critic=NoNumbers(), rows=16, config=config)
    np.testing.assert_allclose(found.root_value, 1.0)
    assert all(len(words) == len(set(words)) > 5 for words in finished(found))


def test_no_tilt_draws_what_is_closed():
    """A narrow tree with one right word: whatever the tilt, it ends with the words below it."""
    narrow = dataclasses.replace(DRAW, num_candidates=2, tilt=300.0)
    found = grown(narrow, right=(WORDS[0],), rows=64)
    tree = found.grown.tree
    parents, actions = tree.parents[:, 1:], tree.action_from_parent[:, 1:]
    used = tree.embeddings.step.length[:, 1:] > 0
    rows = np.arange(64)[:, None]
    own = tree.children_index[rows, np.maximum(parents, 0), np.maximum(actions, 0)]
    assert (own == np.arange(1, own.shape[1] + 1))[used].all()  # no node without its place
    assert all(len(words) == len(set(words)) for words in finished(found))


@ALL
def test_a_root_that_is_finished_is_decided_at_once(config):
    writer = toy_writer()
    draft, _ = writer.sample(jnp.array([PROMPT] * 2, jnp.int32), row_keys(jax.random.key(0), 2))
    keys = row_keys(jax.random.key(1), 2)
    found = search(writer, ValueHead(), draft, Memory(), keys, config)
    assert (np.asarray(found.grown.tokens) == 0).all()
    assert not np.asarray(found.candidates.usable).any()


@pytest.mark.parametrize("policy", ["draw", "puct", "gumbel"])
def test_what_a_root_finds_does_not_depend_on_the_mesh(policy):
    config = dataclasses.replace(DRAW, policy=policy, trust=0.5, num_simulations=20)
    one, two = grown(config, rows=16), grown(config, rows=16, devices=8)
    assert finished(one) == finished(two)
    np.testing.assert_allclose(one.root_value, two.root_value, atol=1e-6)

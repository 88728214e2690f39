"""A test-time strategy: problems, a writer, a judge and a budget in; solutions out.

A strategy is a frozen dataclass in the file that is named after it. One of your own is a class with
the same two methods, in a file of your own, named `module:Class` on the command line.
"""

from typing import NamedTuple, Protocol

import jax

from rlsearch.classes import class_name, classes_of, find_class, short_name
from rlsearch.config import STRATEGY
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.verifiers.base import Judge


class Budget(NamedTuple):
    """The allowance of each problem: `solutions` times the cost of one sample."""

    solutions: int
    tokens: int  # policy tokens, every candidate, rollout and simulation counted


class Solutions(NamedTuple):
    """One answer for each of B problems, all n candidates that it was chosen from, and the cost."""

    tokens: jax.Array  # [B, T] int32, the answer; what is unfinished never wins
    score: jax.Array  # [B] float32, the verifier's of the answer
    all_tokens: jax.Array  # [B, n, T] int32
    all_scores: jax.Array  # [B, n] float32; -1 where a place holds no finished solution
    generations: jax.Array  # [B] int32, solutions finished
    policy_tokens: jax.Array  # [B] int32
    verifier_tokens: jax.Array  # [B] int32, read by a verifier other than the policy's own heads
    bad_scores: jax.Array | int = 0  # [B] int32, scores that were no numbers and counted as 0
    context_tokens: jax.Array | int = 0  # [B] int32, read by the policy beside the prompt, once
    contexts: jax.Array | int = 0  # [B] int32, in how many texts it read them


class Strategy(Protocol):
    """A way to spend compute while answering."""

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        """The record beside a result; None where the budget cannot be spent."""
        ...

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        """Solves `prompts [B, P]` with `keys [B]`, in `jit`; `budget` is static."""
        ...


NAMES = (
    "greedy",
    "self_consistency",
    "best_of_n",
    "weighted_best_of_n",
    "beam_search",
    "lookahead_search",
    "diverse_search",
    "tree_search",
    "revisions",
    "mcts_alpha",
    "mcts_rollout",
    "one_tree",
    "drawing_tree",
    "tree_vote",
    "bfs_v",
    "dfs_v",
)


def load_strategy(name: str) -> Strategy:
    """The strategy `name`: one of the package by its short name, or a user's `module:Class`.

    Raises:
        ValueError: if there is none.
    """
    found = classes_of(STRATEGY).get(name) if name in NAMES else None
    return (found or find_class("strategy", name, STRATEGY, NAMES))()


def name_of(strategy: Strategy) -> str:
    """The name beside a result: what `load_strategy` finds a strategy of that class by."""
    cls = type(strategy)
    own = cls.__module__.partition(".")[0] == "rlsearch"
    return short_name(cls) if own else class_name(strategy)

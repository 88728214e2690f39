"""What a test-time strategy is: problems, a policy, a verifier and a budget in; solutions out.

A strategy of your own is a class with the same two methods, in a file of your own, named
`module:Class` on the command line.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax

from rlsearch.classes import Kind, find_class
from rlsearch.decoding.steps import StepFormat
from rlsearch.networks.language_model import LanguageModel, Params
from rlsearch.verifiers.base import Verifier


@dataclasses.dataclass(frozen=True, eq=False)
class Policy:
    """A language policy: what writes, and how what it wrote is read."""

    model: LanguageModel
    form: StepFormat
    # prompts [B, P], solutions [B, T] to [B] int32: what each says in the end, -1 where nothing
    answers: Callable[[jax.Array, jax.Array], jax.Array]


class Budget(NamedTuple):
    """What a strategy may spend on each problem: `solutions` times what one sample costs."""

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
    """How inference compute is spent."""

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        """What will be recorded beside the result; None where the budget cannot be spent."""
        ...

    def solve(
        self,
        policy: Policy,
        params: Params,
        verifier: Verifier,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        """Solves `prompts [B, P]` with `keys [B]`, in `jit`; `policy` and `budget` are static."""
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
    "bfs_v",
    "dfs_v",
)


def load_strategy(name: str) -> Strategy:
    """The strategy `name`: a file of `rlsearch.strategies`, or a user's `module:Class`.

    Raises:
        ValueError: if there is none.
    """
    if name in NAMES:
        module_name = f"rlsearch.strategies.{name}"
        class_name = "".join(part.capitalize() for part in name.split("_"))
        name = f"{module_name}:{class_name}"
    kind = Kind(Strategy, arguments=0)
    return find_class("strategy", name, kind, NAMES)()

"""One tree, which goes on until the budget's tokens are used or nothing is left to be found.

The answer is chosen among the solutions that were finished in it, by the verifier's value and the
policy's probability of them. It grows by the rule of `search`: see `rlsearch.search.steps`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig, check
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.search.summary import first_finished
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.drawing import MIN_P, confidence
from rlsearch.strategies.trees import conclude, grow, nodes_of
from rlsearch.strategies.writing import begin
from rlsearch.verifiers.base import Judge

ROOM = 1.25  # nodes there is room for, for each of mean length that the tokens pay for


@dataclasses.dataclass(frozen=True)
class OneTree:
    """A tree over whole steps, by any rule."""

    search: SearchConfig = SearchConfig(min_p=MIN_P)
    widest: int = 32  # steps that are drawn at a node at most
    policy_weight: float = 0.0  # a, see `drawing.confidence`

    def __post_init__(self):
        check(self.search.actions == "steps", self, "search", "one whose actions are 'steps'")
        check(self.widest >= 2, self, "widest", "at least 2")

    def search_config(self, policy: Policy, budget: Budget) -> SearchConfig | None:
        """The tree that the budget pays for; None where it does not pay for one solution."""
        if budget.tokens < policy.format.max_length:
            return None
        return dataclasses.replace(
            self.search,
            max_tokens=budget.tokens,
            num_simulations=int(ROOM * budget.solutions * policy.format.num_steps),
            num_candidates=max(2, min(budget.solutions, self.widest)),
        )

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        config = self.search_config(policy, budget)
        if config is None:
            return None
        return {"policy_weight": self.policy_weight, **dataclasses.asdict(config)}

    def choose(self, answers: jax.Array, sure: jax.Array) -> jax.Array:
        """`[B]` the node whose solution is the answer.

        Args:
            answers: `[B, N + 1]` int32, what each says in the end; below 0: nothing.
            sure: `[B, N + 1]` float32, the `confidence` in each; -1 where none was finished.
        """
        del answers
        return jnp.argmax(sure, axis=1)

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        config, rows = self.search_config(writer.policy, budget), jnp.arange(prompts.shape[0])
        assert config is not None, "`settings` says that the budget can be spent"
        problems, first, read = begin(writer, judge, prompts)
        decision, cost = grow(problems, first, keys, config)
        tree = decision.grown.tree
        nodes, done = nodes_of(tree, first), first_finished(tree, writer.format)
        sure = confidence(tree.raw_values, nodes.log_prob, self.policy_weight)
        answers = jax.vmap(writer.policy.answers, (None, 1), 1)(prompts, nodes.line.tokens)
        best = self.choose(jnp.where(done, answers, -1), jnp.where(done, sure, -1.0))
        chosen = jax.tree.map(lambda x: x[rows, best], nodes)
        scores = jnp.where(done, tree.raw_values, -1.0)
        spent = cost.at[:, 1].add(read)
        return conclude(problems, chosen, nodes.line.tokens, scores, spent)

"""MCTS-alpha (Feng et al. 2023): simulate, commit to a step, move the root, and so on to the end.

The way that AlphaZero plays: behind as many simulations as are paid for a step is taken, by PUCT:
the best of the policy that the visits follow, as what is closed is visited no more. That makes one
solution, and so it goes from the problem again until the budget is spent; of all these solutions
the answer is the one that the verifier values most. What was below the step taken is grown anew
from there: its tokens are paid for again.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer, step_keys
from rlsearch.keys import folded
from rlsearch.search.result import Decision
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.drawing import MIN_P, confidence
from rlsearch.strategies.trees import conclude, grow, nodes_of, width
from rlsearch.strategies.vote import first_best
from rlsearch.strategies.writing import Judged, begin, choose
from rlsearch.verifiers.base import Judge

# A solution costs less than it may: so there is room for more than the budget surely pays for.
SOLUTIONS_FOR_ONE_PAID = 3


@dataclasses.dataclass(frozen=True)
class MctsAlpha:
    """A budget below one simulation a step is spent on one greedy solution."""

    search: SearchConfig = SearchConfig(actions="steps", policy="puct", min_p=MIN_P)
    max_simulations: int = 16  # before a step is taken
    policy_weight: float = 0.0  # a, see `drawing.confidence`

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        dearest = policy.format.num_steps * policy.format.max_step_length
        simulations = min(budget.tokens // dearest, self.max_simulations)
        if simulations == 0:
            return {"max_solutions": 0, "policy_weight": self.policy_weight}
        paid = budget.tokens // (simulations * dearest)
        config = dataclasses.replace(
            self.search, num_simulations=simulations, num_candidates=width(simulations)
        )
        most = 1 if paid == 1 else SOLUTIONS_FOR_ONE_PAID * paid
        own = {"max_solutions": most, "policy_weight": self.policy_weight}
        return {**own, **dataclasses.asdict(config)}

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        settings = self.settings(writer.policy, budget)
        assert settings is not None
        batch, format, most = prompts.shape[0], writer.format, settings.pop("max_solutions")
        del settings["policy_weight"]
        problems, first, read = begin(writer, judge, prompts)
        costless = jnp.zeros((batch, 3), jnp.int32)  # see `grow`
        spent = costless.at[:, 1].set(read)
        none = jnp.full((batch,), -1.0)
        if most == 0:
            return conclude(problems, first, first.line.tokens[:, None], none[:, None], spent)
        config = SearchConfig(**settings)
        dearest = format.num_steps * config.num_simulations * format.max_step_length

        def take_step(carry, keys: jax.Array):
            root, _, spent = carry
            decision, cost = grow(problems, root, keys, config)
            return (*preferred(decision, root), spent + cost), None

        def write(number: jax.Array) -> tuple[Judged, jax.Array, jax.Array]:
            """One solution, its score, and what it took."""
            own = folded(keys, number)
            own = step_keys(own, format.num_steps)
            carry, _ = jax.lax.scan(take_step, (first, none, costless), own)
            return carry

        def turn(carry, number: jax.Array):
            best, highest, spent = carry
            affordable = spent[:, 0] + dearest <= budget.tokens
            written, score, cost = jax.lax.cond(
                affordable.any(), write, lambda _: (first, none, costless), number
            )
            score = jnp.where(affordable, score, -1.0)
            sure = confidence(score, written.log_prob, self.policy_weight)
            best = choose(sure > highest, written, best)
            spent += jnp.where(affordable[:, None], cost, 0)
            return (best, jnp.maximum(sure, highest), spent), (written.line.tokens, score)

        (best, _, spent), found = jax.lax.scan(turn, (first, none, spent), jnp.arange(most))
        found = [jnp.swapaxes(x, 0, 1) for x in found]
        return conclude(problems, best, *found, spent)


def preferred(decision: Decision, root: Judged) -> tuple[Judged, jax.Array]:
    """The solutions `[B]` behind the likeliest step of the improved policy, ties by value, and the
    verifier's word on them.

    Args:
        root: the solutions `[B]` before that step.
    """
    tree, rows = decision.grown.tree, jnp.arange(decision.action.shape[0])
    action = first_best(decision.improved_policy, decision.action_values)
    # Where there is no step, because the solution is finished, nothing is added to it.
    node = jnp.maximum(tree.children_index[rows, 0, action], 0)
    after = jax.tree.map(lambda x: x[rows, node], nodes_of(tree, root))
    return after, tree.raw_values[rows, node]

"""MCTS-alpha (Feng et al. 2023): simulate, commit to a step, move the root, and so on to the end.

The way that AlphaZero plays: behind as many simulations as are paid for the most visited step is
taken, by PUCT. That makes one solution, and so it goes from the problem again until the budget is
spent; of all these solutions the answer is the one that the verifier values most. What was below
the step taken is grown anew from there, as mctx keeps no subtree: its tokens are paid for again.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.networks.language_model import Params
from rlsearch.search.result import StepSearchResult
from rlsearch.strategies.base import Budget, Policy, Solutions
from rlsearch.strategies.trees import conclude, drafts, grow, width
from rlsearch.strategies.vote import first_best
from rlsearch.strategies.writing import Draft, begin
from rlsearch.verifiers.base import Verifier

# A solution costs less than it may: so there is room for more than the budget surely pays for.
SOLUTIONS_FOR_ONE_PAID = 3


class MctsAlpha:
    """A budget below one simulation a step is spent on one greedy solution."""

    config = SearchConfig(actions="steps", policy="puct", min_p=0.05)
    max_simulations = 16  # before a step is taken

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        dearest = policy.form.num_steps * policy.form.max_step_length
        simulations = min(budget.tokens // dearest, self.max_simulations)
        if simulations == 0:
            return {"max_solutions": 0}
        paid = budget.tokens // (simulations * dearest)
        config = dataclasses.replace(
            self.config, num_simulations=simulations, num_candidates=width(simulations)
        )
        most = 1 if paid == 1 else SOLUTIONS_FOR_ONE_PAID * paid
        return {"max_solutions": most, **dataclasses.asdict(config)}

    def solve(
        self,
        policy: Policy,
        params: Params,
        verifier: Verifier,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        settings = self.settings(policy, budget)
        assert settings is not None
        batch, form, most = prompts.shape[0], policy.form, settings.pop("max_solutions")
        problems, first, read = begin(policy, params, verifier, prompts)
        costless = jnp.zeros((batch, 3), jnp.int32)  # see `grow`
        spent = costless.at[:, 1].set(read)
        none = jnp.full((batch,), -1.0)
        if most == 0:
            found = first.prefix.tokens[:, None], none[:, None]
            return conclude(policy, params, verifier, problems, first, *found, spent, keys)
        config = SearchConfig(**settings)
        dearest = form.num_steps * config.num_simulations * form.max_step_length

        def take_step(carry, keys: jax.Array):
            root, _, spent = carry
            result, cost = grow(policy, params, verifier, problems, root, keys, config)
            return (*most_visited(result), spent + cost), None

        def write(number: jax.Array) -> tuple[Draft, jax.Array, jax.Array]:
            """One solution, its score, and what it took."""
            own = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            own = jax.vmap(lambda key: jax.random.split(key, form.num_steps))(own)
            carry, _ = jax.lax.scan(take_step, (first, none, costless), jnp.swapaxes(own, 0, 1))
            return carry

        def turn(carry, number: jax.Array):
            best, highest, spent = carry
            affordable = spent[:, 0] + dearest <= budget.tokens
            written, score, cost = jax.lax.cond(
                affordable.any(), write, lambda _: (first, none, costless), number
            )
            score = jnp.where(affordable, score, -1.0)
            better = score > highest
            best = jax.tree.map(
                lambda new, old: jnp.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old),
                written,
                best,
            )
            spent += jnp.where(affordable[:, None], cost, 0)
            return (best, jnp.maximum(score, highest), spent), (written.prefix.tokens, score)

        (best, _, spent), found = jax.lax.scan(turn, (first, none, spent), jnp.arange(most))
        found = [jnp.swapaxes(x, 0, 1) for x in found]
        return conclude(policy, params, verifier, problems, best, *found, spent, keys)


def most_visited(result: StepSearchResult) -> tuple[Draft, jax.Array]:
    """The solutions `[B]` behind the step that was visited most, ties by value, and their value."""
    tree, rows = result.tree, jnp.arange(result.action.shape[0])
    visits = jnp.where(result.usable, result.visit_counts, -1).astype(jnp.float32)
    action = first_best(visits, result.action_values)
    node = tree.children_index[rows, 0, action]
    after = jax.tree.map(lambda x: x[rows, node], drafts(tree))
    return after, tree.raw_values[rows, node]

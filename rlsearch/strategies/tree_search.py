"""Tree search while answering, with a verifier that values every node.

Of the modes of Feng et al. 2023 it is MCTS-rollout, in many trees: `mcts_rollout` grows a single
one, `mcts_alpha` commits itself step by step, and `bfs_v` and `dfs_v` look at values alone. Trees
are grown from the problem itself, one after another, until the budget is spent: a larger budget
buys more trees, not a larger one, as `one_tree` does.
Of all the solutions that were finished in them the answer is the one that the verifier values most,
weighed by the policy's probability of it (`policy_weight`).
Where none was, the node that it values most is finished greedily; the tokens that this may take are
kept aside from the start.
"""

import dataclasses

import jax
import jax.numpy as jnp

from rlsearch.config import SearchConfig
from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.keys import folded
from rlsearch.search.summary import first_finished
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.drawing import MIN_P, confidence
from rlsearch.strategies.trees import conclude, grow, nodes_of, width
from rlsearch.strategies.writing import begin, choose
from rlsearch.verifiers.base import Judge

# A tree costs less than it may, as steps are shorter than the longest; so there is room for more
# trees than the budget surely pays for. Each begins only if it can be paid for whatever it costs.
TREES_FOR_ONE_PAID = 3


@dataclasses.dataclass(frozen=True)
class TreeSearch:
    """The search of training over whole steps, from the problem, as often as the budget allows."""

    # Chosen by accuracy on problems with hindsight goals, none of them held out.
    search: SearchConfig = SearchConfig(actions="steps", min_p=MIN_P, value_scale=0.3)
    max_simulations: int = 40  # of one tree
    policy_weight: float = 0.0  # a, see `drawing.confidence`

    def search_config(self, policy: Policy, budget: Budget) -> SearchConfig | None:
        """One tree, which the budget surely pays for; None where it pays for none."""
        left = budget.tokens - policy.format.max_length
        simulations = min(left // policy.format.max_step_length, self.max_simulations)
        if simulations < 1:
            return None
        return dataclasses.replace(
            self.search, num_simulations=simulations, num_candidates=width(simulations)
        )

    def max_trees(self, policy: Policy, budget: Budget) -> int:
        """Trees that may be grown at most."""
        config = self.search_config(policy, budget)
        if config is None:
            return 0
        left = budget.tokens - policy.format.max_length
        paid = left // (config.num_simulations * policy.format.max_step_length)
        return 1 if paid == 1 else TREES_FOR_ONE_PAID * paid

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        config, trees = self.search_config(policy, budget), self.max_trees(policy, budget)
        search = dataclasses.asdict(config) if config else {}
        return {"max_trees": trees, "policy_weight": self.policy_weight, **search}

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        format, config = writer.format, self.search_config(writer.policy, budget)
        problems, first, read = begin(writer, judge, prompts)
        rows = jnp.arange(prompts.shape[0])
        nodes_of_a_tree = 1 if config is None else config.num_simulations + 1
        dearest = 0 if config is None else config.num_simulations * format.max_step_length

        def grow_next(number, best, affordable):
            """One more tree: the best node so far, and all nodes with their scores."""
            assert config is not None
            tree_keys = folded(keys, number)
            decision, cost = grow(problems, first, tree_keys, config)
            tree = decision.grown.tree
            nodes = nodes_of(tree, first)
            done = first_finished(tree, format) & affordable[:, None]
            sure = confidence(tree.raw_values, nodes.log_prob, self.policy_weight)
            best = better(best, nodes, sure, done, affordable)
            all_scores = jnp.where(done, tree.raw_values, -1.0)
            cost = jnp.where(affordable[:, None], cost, 0)
            return best, nodes.line.tokens, all_scores, cost

        def better(best, nodes, scores, done, affordable):
            # Finished solutions first, and among them by `confidence`, which lies in [0, 1].
            old_node, old_rank = best
            rank = jnp.where(affordable[:, None], scores + 2.0 * done, -1.0)
            index = jnp.argmax(rank, axis=1)
            new_rank = rank[rows, index]
            node = jax.tree.map(lambda x: x[rows, index], nodes)
            return choose(new_rank > old_rank, node, old_node), jnp.maximum(new_rank, old_rank)

        def turn(carry, number):
            best, spent = carry
            affordable = spent[:, 0] + dearest + format.max_length <= budget.tokens

            def rest(number, best, affordable):
                blank = jnp.repeat(first.line.tokens[:, None], nodes_of_a_tree, axis=1)
                return best, blank, jnp.full(blank.shape[:2], -1.0), jnp.zeros_like(spent)

            best, tokens, scores, cost = jax.lax.cond(
                affordable.any(), grow_next, rest, number, best, affordable
            )
            return (best, spent + cost), (tokens, scores)

        best = first, jnp.full(rows.shape, -1.0)
        spent = jnp.zeros((rows.size, 3), jnp.int32).at[:, 1].set(read)  # see `grow`
        tokens, scores = first.line.tokens[:, None], jnp.full((rows.size, 1), -1.0)
        if config is not None:
            trees = jnp.arange(self.max_trees(writer.policy, budget))
            (best, spent), (tokens, scores) = jax.lax.scan(turn, (best, spent), trees)
            tokens = jnp.swapaxes(tokens, 0, 1).reshape(rows.size, -1, tokens.shape[-1])
            scores = jnp.swapaxes(scores, 0, 1).reshape(rows.size, -1)

        return conclude(problems, best[0], tokens, scores, spent)

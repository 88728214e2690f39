"""MCTS-rollout (Feng et al. 2023): all simulations in one tree, which the budget decides the size
of. The answer is the finished solution in it that the verifier values most."""

import dataclasses

from rlsearch.config import SearchConfig
from rlsearch.strategies.drawing import MIN_P
from rlsearch.strategies.tree_search import TreeSearch


@dataclasses.dataclass(frozen=True)
class MctsRollout(TreeSearch):
    """Does what `TreeSearch` does, by PUCT and with a single tree.

    Coming back to a finished solution is a simulation too and takes no tokens, so that a budget is
    not spent to its end.
    """

    search: SearchConfig = SearchConfig(actions="steps", policy="puct", min_p=MIN_P)
    max_simulations: int = 1_000_000

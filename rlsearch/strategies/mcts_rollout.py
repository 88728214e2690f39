"""MCTS-rollout (Feng et al. 2023): all simulations in one tree, by PUCT and the verifier's word."""

import dataclasses

from rlsearch.config import SearchConfig
from rlsearch.strategies.drawing import MIN_P
from rlsearch.strategies.one_tree import OneTree


@dataclasses.dataclass(frozen=True)
class MctsRollout(OneTree):
    """Does what `OneTree` does, by PUCT."""

    search: SearchConfig = SearchConfig(policy="puct", min_p=MIN_P)
    widest: int = 12  # a wider node is visited once each, and no deeper

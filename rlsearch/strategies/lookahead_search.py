"""Lookahead search (Snell et al. 2024): beam search in which a look ahead decides who stays."""

import dataclasses

from rlsearch.strategies.beam_search import BeamSearch


@dataclasses.dataclass(frozen=True)
class LookaheadSearch(BeamSearch):
    """Costs N (k + 1) samples, so that a budget buys fewer drafts; k = 0 is beam search."""

    lookahead: int = 1

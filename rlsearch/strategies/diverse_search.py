"""Diverse verifier tree search: beam search in independent subtrees (Beeching et al. 2024)."""

import dataclasses

from rlsearch.strategies.beam_search import BeamSearch


@dataclasses.dataclass(frozen=True)
class DiverseSearch(BeamSearch):
    """N / M subtrees, each of which keeps its best draft; they meet in the final vote alone."""

    def groups(self, num_drafts: int, expansions: int) -> int:
        return num_drafts // expansions

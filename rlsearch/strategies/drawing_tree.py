"""A tree that draws: whole solutions without replacement, tilted by what those before were worth.

Its floor is sampling: with `search.tilt` 0 it is best-of-N whose samples are all different, and
which pays for a common beginning once.
"""

import dataclasses

from rlsearch.config import SearchConfig
from rlsearch.strategies.drawing import MIN_P
from rlsearch.strategies.one_tree import OneTree


@dataclasses.dataclass(frozen=True)
class DrawingTree(OneTree):
    """Does what `OneTree` does, by drawing, and each simulation goes on to the end."""

    search: SearchConfig = SearchConfig(policy="draw", trust=0.0, min_p=MIN_P)

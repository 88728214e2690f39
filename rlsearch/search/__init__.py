"""Batched tree search over partly written solutions, on mctx.

`search.py` is the one entrance for every kind of action: `steps.py` searches over whole steps
drawn from the policy, `tokens.py` over single tokens. Both say what a node is and how it is
expanded, run the tree with `mcts.py` (selection rules, and noise that belongs to each root), and
read the decision off it with `summary.py`, which returns the `SearchResult` of `result.py`.
"""

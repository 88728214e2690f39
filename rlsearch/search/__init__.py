"""Batched tree search over half-written solutions, on mctx.

`search.py` is the one entrance for every kind of action: `steps.py` searches over whole steps
drawn from the policy, `tokens.py` over single tokens, `moves.py` over the moves of a game. Each
says what a node is and how it is expanded, and runs the tree with `mcts.py` (selection rules, and
noise that belongs to each root); `draws.py` grows a tree by rules and a loop of its own, over whole
steps. `summary.py` reads the decision off a tree. `result.py` has the
results.
"""

"""Batched tree search over half-written solutions and over games.

`search.py` is the one entrance for every kind of action in language: `steps.py` searches over whole
steps drawn from the policy, `tokens.py` over single tokens; `moves.py` searches over the moves of a
game. Tokens and moves run on mctx (`mcts.py`: its selection rules, and noise that belongs to each
root). Trees of steps, which close what is finished and spend tokens, have a loop of their own:
`growing.py` is such a tree, and `rules.py` how a simulation goes down it. All trees have mctx's
form in the end: `summary.py` reads the decision off them, and `result.py` has the results.
"""

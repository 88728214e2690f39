"""The test-time strategies: ways to spend compute while answering, without training.

`base.py` says what a strategy is (problems, a policy, a verifier and a budget in; answers and their
cost out) and finds one by its name. Each strategy is a file that is named after it. They share
`writing.py` (solutions being written while the verifier reads along), `candidates.py` (what there
is to choose from), `vote.py` (choosing), `beams.py` (search step by step against a verifier),
`chains.py` (attempts that are written with earlier ones in view), `expansion.py` (distinct steps
behind a node, as far as the budget goes) and `trees.py` (a tree of MCTS).
None of them sees the checker, unless it is explicitly given as the verifier: an oracle.
"""

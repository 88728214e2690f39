"""The test-time strategies: ways to spend compute while answering, without training.

`base.py` says what a strategy is (problems, a policy and a budget in; answers and their cost out)
and finds one by its name. Each other file is one strategy and is named after it: `greedy.py`,
`best_of_n.py`, `tree_search.py`. None of them sees the checker, unless tree search is explicitly
given it as an oracle.
"""

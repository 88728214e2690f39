"""Measuring a trained run, and looking at it.

Language: `evaluate.py` takes each policy of a run through each strategy and budget, `accuracy.py`
makes the rows of that (costs, FLOPs, intervals) and their means over seeds, `picture.py` draws
them, `suite.py` and `verifier_suite.py` measure all there is of strategies and of verifiers,
`verifiers.py` opens a verifier, `labelling.py` labels what a policy writes, `solve.py` answers one
problem. Games: `board.py` holds a run against perfect play (`solved.py`), `arena.py` rates players
(`players.py`) against each other by `elo.py`, and `play.py` lets a person play on the text of
`boards.py`. For both, `run.py` opens a run, `inspect.py` writes a search tree as a page
(`tree_page.py`), `bench.py` and `bench_self_play.py` measure speed against a limit, and `plan.py`
says what a training step will need and do on a machine that is not at hand.
"""

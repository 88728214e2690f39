"""The questions of the papers, each a frozen dataclass with its picture.

`base.py` says what a study is. `accuracy.py` takes the policies of a run through strategies and
budgets, `test_time_compute.py` asks which strategy pays at which budget, `verifiers.py` how good
verifiers are, `revisions.py` whether attempts behind one another beat attempts side by side,
`exchange.py` how much pre-training inference replaces, `total_compute_picture.py` draws accuracy
over all compute spent, and `everything.py` runs them all.
"""

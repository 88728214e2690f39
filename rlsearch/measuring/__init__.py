"""The answers that strategies give to problems, and their costs.

`opened.py` is a run opened for reading: its policies, its verifiers, and all that depends on which
stages it has. `examination.py` has the problems and those who sit it, `measure.py` takes a policy
through a strategy, `rows.py` and `costs.py` say what came of it, and `accuracy.py` what that is on
average over seeds. `judges.py` says which verifiers can judge whom, `calibration.py`,
`pass_at_k.py`, `equal_tokens.py`, `compute_optimal.py` and `total_compute.py` are the sums behind
the studies, `accuracy_picture.py` is the look that their pictures share, `labelling.py` labels what
a policy writes, and `solve.py` answers one problem.
"""

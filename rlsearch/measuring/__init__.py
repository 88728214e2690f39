"""What strategies make of problems, and what that costs.

`evaluate.py` takes each policy of a run through each strategy and budget; `accuracy.py` makes the
rows of that (costs, FLOPs, intervals) and their means over seeds, `accuracy_picture.py` draws them.
`judges.py` opens a verifier, `calibration.py`, `pass_at_k.py`, `equal_tokens.py`,
`compute_optimal.py` and `total_compute.py` are the sums behind the studies, `labelling.py` labels
what a policy writes, and `solve.py` answers one problem.
"""

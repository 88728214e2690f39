"""Judges of solutions: of each step, or only of the whole, while they are written or after.

`base.py` says what a verifier is and finds one by its name, `aggregate.py` makes one score of those
of the steps. Each other verifier is a file: `network.py` and `head.py` are trained ones, with a
network of their own and as a head on a policy's trunk, `value_head.py` is the policy's own critic,
`constant.py` is none at all, and `checker.py` is the ground truth, which makes of any strategy an
upper bound that is labelled `oracle`.

`labels.py` says what trained verifiers learn from. `exact.py`, `monte_carlo.py` and `bisection.py`
make labels of what a policy writes, on the device; `label_files.py` keeps them.
"""

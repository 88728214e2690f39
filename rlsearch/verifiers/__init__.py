"""What judges solutions: each step of them, or only the whole, while they are written or after.

`base.py` says what a verifier is and finds one by its name, `aggregate.py` makes one score of those
of the steps. Each other file is one verifier: `value_head.py` is the policy's own critic,
`constant.py` is none at all, and `checker.py` is the ground truth, which makes of any strategy an
upper bound that is labelled `oracle`.
"""

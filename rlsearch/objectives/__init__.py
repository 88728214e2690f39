"""Rows to learn from: each teacher makes the same kind of rows, and there is one loss for all.

`step_targets.py` defines the rows (`StepTargets`) and the loss on them. The other files make rows,
one teacher each: `hindsight.py` from random traces whose goal is what they reached,
`search_distillation.py` from what tree search found, `expert_iteration.py` from right samples of
the policy itself, and `revision_targets.py` from right ones behind wrong ones. Which stage uses
which teacher is said in `rlsearch.training.language`.

Verifiers have rows and a loss of their own: `verifier_targets.py`.
"""

"""The ways of training, one file each: a frozen dataclass, where its rows come from, its FLOPs.

`traces.py` learns random traces with hindsight goals, `search_distillation.py` what tree search
found, `tree_distillation.py` what a whole tree did, `expert_iteration.py` right samples,
`policy_gradient.py` right and wrong ones, `supervised.py` worked solutions, `revision.py` right
answers behind wrong ones, `verifier.py` trains outcome and process reward models, `labelling.py`
writes the labels that the latter may read, and `self_play.py` plays games. `ring.py` keeps the
newest rows, `costs.py` counts FLOPs, and `companions.py` makes the rows beside those of a teacher.

A stage of your own is such a dataclass in a file of yours; see `rlsearch.runs.stage`.
"""

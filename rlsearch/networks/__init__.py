"""The transformer, and what it costs.

`transformer.py` has the flax NNX modules: trunk, policy head and value head, which own no cache.
`language_model.py` splits them once into pure functions of a parameter tree, the only form in
which the other rooms use them. `residual_tower.py` and `board_model.py` are the same for boards.
`logical_axes.py` reads the names that parameters give to their axes, `remat.py` has policies of
rematerialisation, and `flops.py` counts the FLOPs of one token.
"""

"""The transformer, and what it costs.

`transformer.py` has the flax NNX modules: trunk, policy head and value head, which own no cache.
`language_model.py` splits them once into pure functions of a parameter tree, the only form in
which the other rooms use them. `flops.py` counts the FLOPs of one token.
"""

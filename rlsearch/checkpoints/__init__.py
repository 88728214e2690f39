"""Saving and restoring the state of a run; the only room that imports Orbax.

`store.py`: `CheckpointStore` saves in the background while training goes on, restores onto any
mesh, whole or some keys only, sets a damaged checkpoint aside, and deletes the old ones that no
rule keeps. `tensors.py`: parameters as a safetensors file, to be shared. Neither knows anything of
what a state means.
"""

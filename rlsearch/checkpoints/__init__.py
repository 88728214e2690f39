"""Saving and restoring the state of a run; the only room that imports Orbax.

`store.py` is all of it: `CheckpointStore` saves in the background while training goes on, restores
onto any mesh, whole or some keys only, sets a damaged checkpoint aside, and deletes old ones but
those that end a stage. It knows nothing of what a state means.
"""

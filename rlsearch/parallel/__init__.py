"""How a computation is spread over devices.

`mesh.py` is most of it: a mesh of one axis, `data`; parameters whole on every device; batches, and
with them every search, split along their first axis. Random keys are folded from the global row,
so that a row draws the same numbers on any mesh. `compilation_cache.py` says where compiled
programs are kept.
"""

"""How a computation is spread over devices.

`mesh.py` makes the mesh, whose axes are always `replica`, `data` and `model`, and splits batches,
and with them every search, over the first two. `sharding.py` places parameters on it by the names
of their axes. `collectives.py` reads from a compiled program what its devices tell each other, over
which axis and in which loop. Random keys are folded from the global row, so that a row draws the
same numbers on any mesh. `compilation_cache.py` says where compiled programs are kept.
"""

"""The spreading of a computation over devices.

`mesh.py` makes the mesh, whose axes are always `replica`, `data` and `model`, and splits batches,
and with them every search, over the first two. `sharding.py` places parameters on it by the names
of their axes. Random keys are folded from the global row, so that a row draws the same numbers on
any mesh. `compilation_cache.py` says where compiled programs are kept.

`hosts.py` connects the processes of a run on many hosts: `clusters.py` says who they are, by what
started them, and `rendezvous.py` who of them is missing. `agreement.py` is what they agree on, and
`supervisor.py` runs several of them on one machine and starts them again when one dies.
"""

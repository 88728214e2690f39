"""How a computation is spread over devices.

`mesh.py` is all of it: a mesh of one axis, `data`; parameters whole on every device; batches, and
with them every search, split along their first axis. Random keys are folded from the global row,
so that a row draws the same numbers on any mesh.

`hosts.py` connects the processes of a run on many hosts, `agreement.py` is what they agree on, and
`supervisor.py` runs several of them on one machine and starts them again when one dies.
"""

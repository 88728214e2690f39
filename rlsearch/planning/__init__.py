"""A pod from a laptop: what a training step needs and does on a machine that is not at hand.

`plan.py` compiles the step of every stage (`plan_fields.py` says what may be changed for it) with
the compilers of TPUs and GPUs (`compilers.py`) for a machine of `topology.py`, whose data sheet is
in `chips.py`. `hlo.py` reads the text of a compiled program, `collectives.py` what its devices tell
each other, over which axis and in which loop, `work.py` what it computes and moves with the FLOPs
of `products.py`, and `traced.py` estimates that where nothing is compiled.
"""

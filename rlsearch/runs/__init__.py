"""Runs: their files, and how they are opened by those who did not train them.

`directory.py` knows the files of a run, `opening.py` reads its config as data, `stage.py` says what
a stage of training is, and `parameters.py` reads the parameters of a checkpoint.
"""

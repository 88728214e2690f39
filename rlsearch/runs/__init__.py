"""What a run is: its files, and how it is opened by those who did not train it.

`directory.py` knows the files of a run, `opening.py` reads its config as data, `stage.py` says what
a stage of training is, and `parameters.py` reads the parameters of a checkpoint.
"""

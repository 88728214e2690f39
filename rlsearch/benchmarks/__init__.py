"""Speed, each figure held against a limit or a peer that is measured in the same run.

`search.py` holds tree search against plain decoding, `beams.py` many problems at once against one
by one, `self_play.py` a step against the network alone, `train.py` a training step against the
peak of the device (`peak.py`), and `strength.py` the strength reached in a given time against the
example loop of pgx (`example_loop.py`).
"""

from rlsearch.config import Experiment

config = Experiment()
